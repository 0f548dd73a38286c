"""The card of a published head, written from what the head itself records: no number is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with huggingface_hub

from cpchub.catalog.licences import UNKNOWN
from cpchub.fewlabels.estimate import LEVEL, Estimate, Share
from cpchub.fewlabels.heads.head import Head
from cpchub.fewlabels.multi_label import MultiLabelEstimate

BEGIN = "<!-- cpchub: generated from head.json; write above or below this block -->"
END = "<!-- cpchub: end of the generated block -->"
TASK = "image-classification"


def loading_snippets(repo_id: str) -> Sequence[str]:
    """The code with which a head is loaded from a repository."""
    return f'cpchub.load_classifier("{repo_id}")', f"--head {repo_id}"


def render(head: Head, repo_id: str, license: str = UNKNOWN) -> str:
    """The whole card, front matter and generated block, for the repository it is published as."""
    name = repo_id.rpartition("/")[2]
    encoder, labels = head.encoder, sum(head.labels.values())
    sections = [
        f"# {name}\n\nA classifier of images into {len(head.classes)} classes ({_listed(head.classes)}), learned from "
        f"{labels:,} labels on the vectors of the frozen encoder {encoder['name']}.",
        _loading(head, repo_id),
        _encoder(head),
        _accuracy(head.estimate) if head.several is None else _of_several(head.several),
        _classes(head),
        f"## Labels\n\n{labels:,} labels with the sha256 `{head.labels_sha256}` (of a CSV with the columns path,label "
        "and its lines sorted by path). The labels and the images are not in this repository.",
    ]
    front = yaml.safe_dump(_metadata(head, license), sort_keys=False, allow_unicode=True)
    block = "\n\n".join([BEGIN, *sections, END])
    return f"---\n{front}---\n\n{block}\n"


def _metadata(head: Head, license: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"license": license, "library_name": "cpchub", "pipeline_tag": TASK}
    metadata["tags"] = [TASK, "cpchub", "few-labels"]
    if head.encoder.get("repo_id"):
        metadata["base_model"] = head.encoder["repo_id"]
    return metadata


def _loading(head: Head, repo_id: str) -> str:
    return f"""## Use it

```bash
cpchub index photos -o photos-index --encoder {head.encoder_to_load}
cpchub classify photos-index --head {repo_id} -o predictions.csv
```

```python
import cpchub

head = cpchub.load_classifier("{repo_id}")
encoder = cpchub.load(head.encoder_to_load)
head.check_encoder(encoder.spec)
probabilities = head.predict_proba(encoder.encode(["photo.jpg"]))  # columns: head.classes
```"""


def _encoder(head: Head) -> str:
    encoder = head.encoder
    where = (
        f"`{encoder['repo_id']}` at the commit `{encoder['revision']}`"
        if encoder.get("repo_id")
        else f"`{encoder['name']}` of cpchub's catalog"
    )
    known_by = f"with the fingerprint `{encoder['fingerprint']}`"
    return f"## Encoder\n\n{where}, {known_by}. Vectors of any other encoder are refused."


def _accuracy(estimate: Estimate | None) -> str:
    if estimate is None:
        return "## Accuracy\n\nNot estimated: the labels were too few to hold one out."
    found = estimate.accuracy
    return (
        f"## Accuracy\n\nEstimated at {found.value:.1%} ({LEVEL:.0%} interval {found.low:.1%} to {found.high:.1%}) "
        "from the labels alone: each was held out in turn and predicted by the others, and the classes are weighted by "
        "their shares of the collection. The estimate is for images like those that were labelled."
    )


def _of_several(estimate: MultiLabelEstimate) -> str:
    what = "## Accuracy\n\nAn image may be of several classes, or of none. "
    if estimate.macro_f1 is None:
        return what + "Nothing is estimated: the labels were too few to hold one out."
    return (
        f"{what}Macro F1 is estimated at {estimate.macro_f1:.2f} from the labels alone: each was held out in turn and "
        "predicted by the others. The estimate is for images like those that were labelled."
    )


def _classes(head: Head) -> str:
    rows = ["| Class | Labels | Recall | Precision |", "|---|---|---|---|"]
    estimate = head.estimate or head.several
    found = {} if estimate is None else {each.name: each for each in estimate.classes}
    for name in head.classes:
        each = found.get(name)
        recall, precision = (None, None) if each is None else (each.recall, each.precision)
        rows.append(f"| {_cell(name)} | {head.labels.get(name, 0):,} | {_share(recall)} | {_share(precision)} |")
    return "## Classes\n\n" + "\n".join(rows)


def _share(share: Share | None) -> str:
    return "" if share is None else f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown}, ..."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""Labels that were flipped on purpose, and how many of them are found, beside cleanlab on the same probabilities.

One label in twenty of 2,000 (of all, where a set has fewer) is made another class at random. Every label is held out,
and as many as were flipped are taken from the top of the list: `precision` is the share of these that were flipped.
cleanlab ranks the same probabilities: by its three scores (`cleanlab.rank`), and by its filter, of which the first as
many are taken, by self confidence (`cleanlab.filter.find_label_issues`).

`all_labels_right` is what the encoder allows: the same ranking by the probabilities of a classifier that has learned
from the right labels of the other images, 5,000 at most. Where it is low, right labels look wrong to this encoder.

The last row is of the pixels of scikit-learn's digits, which are easily told apart: what the ranking does where the
features do their part. cleanlab comes with the extra `bench`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from benchmarks.fewlabels.sets import LabelledSet
from cpchub.common.extras import need
from cpchub.fewlabels import LogisticProbe
from cpchub.fewlabels.held_out import held_out, settled
from cpchub.fewlabels.label_errors import contradicted

LABELS, FLIPPED, OTHERS = 2000, 0.05, 5000
FIRST_SEED, DRAWS = 70, 3
SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
COLUMNS = ("data", "labels", "flipped", "accuracy", "precision", *(f"cleanlab_{score}" for score in SCORES))
COLUMNS += ("cleanlab_filter", "all_labels_right")


def cleanlabs(codes: NDArray[np.int64], p: NDArray[np.float64]) -> dict[str, NDArray[np.int64]]:
    """cleanlab's lists, the most suspicious label first. Raises DependencyError without cleanlab."""
    need("cleanlab", extra="bench")
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = {score: get_label_quality_scores(codes, p, method=score) for score in SCORES}
    lists = {f"cleanlab_{score}": np.argsort(each, kind="stable") for score, each in quality.items()}
    return lists | {"cleanlab_filter": find_label_issues(codes, p, return_indices_ranked_by="self_confidence")}


def one_draw(each: LabelledSet, seed: int) -> dict[str, float]:
    """The precisions of one choice of labels and of those that are flipped."""
    rng = np.random.default_rng(FIRST_SEED + seed)
    order = rng.permutation(len(each.y))
    rows, others = order[:LABELS], order[LABELS:][:OTHERS]
    true, count = each.y[rows], round(FLIPPED * len(rows))
    wrong = rng.permutation(len(rows))[:count]
    given = true.copy()
    given[wrong] = (true[wrong] + rng.integers(1, len(each.names), count)) % len(each.names)
    x, names = each.x[rows], np.array(each.names)[given]
    found = held_out(x, names.tolist(), settled(LogisticProbe().fit(x, names)), all_of_them=True)
    assert found is not None
    p = found.probabilities
    lists = {"precision": contradicted(found)[0]} | cleanlabs(found.codes, p)
    if len(others) >= LABELS:
        best = LogisticProbe().fit(each.x[others], each.y[others]).predict_proba(x)
        lists["all_labels_right"] = np.argsort(best[np.arange(len(rows)), given], kind="stable")
    hits = {name: float(np.isin(worst[:count], wrong).sum() / count) for name, worst in lists.items()}
    return {"labels": len(rows), "flipped": count, "accuracy": float((p.argmax(axis=1) == true).mean()), **hits}


def digits() -> LabelledSet:
    """The handwritten digits of scikit-learn, 8 x 8 pixels."""
    x, y = load_digits(return_X_y=True)
    return LabelledSet("digits, pixels", {}, tuple("0123456789"), x.astype(np.float32), y)


def measure(sets: Sequence[LabelledSet]) -> dict[str, Any]:
    """Everything measured, as it is written to the JSON file."""
    rows = []
    for each in [*sets, digits()]:
        draws = [one_draw(each, seed) for seed in range(DRAWS)]
        means = {name: round(float(np.mean([draw[name] for draw in draws])), 4) for name in draws[0]}
        rows.append({"data": each.name} | means | {"labels": draws[0]["labels"], "flipped": draws[0]["flipped"]})
    return {"draws": DRAWS, "cleanlab": version("cleanlab"), "results": rows}


def title(found: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    return "Of as many labels as were flipped: " + ", ".join(
        f"{row['precision']:.0%} found on {row['data']}" for row in found["results"]
    )

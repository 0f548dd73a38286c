"""Write the tables of `docs/methods/` from the recipes and the files of measurements: `python docs/method_tables.py`.

A page says where a table stands: `<!-- recipes: moco_v1 moco_v2 -->`, `<!-- measured: moco_v1 moco_v2 -->`,
`<!-- measured: all -->` for one row a method, `<!-- measured: own -->` for encoders of so many images. Each ends with
`<!-- end -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from cpchub.catalog.listing import list_specs
from cpchub.catalog.spec import EVALUATION, read_json
from cpchub.catalog.vocabulary import data_title, method_title
from cpchub.hub.card_tables import table
from cpchub_training import recipes

DOCS = Path(__file__).parent
PAGES = sorted((DOCS / "methods").glob("*.md"))
RESULTS = DOCS.parent / "benchmarks" / "results"
TABLE = re.compile(r"(<!-- (recipes|measured): ([\w ]+) -->)\n.*?<!-- end -->", re.DOTALL)
HEADS = ("Run", "Measured on", "kNN, k = 20", "Linear probe", "1 % of the labels", "File")
NONE = "Nobody has measured a run of it here. [Runs on a GPU](../gpu-runs.md) has what is to be measured next."

Row = Sequence[str]


def page(text: str) -> str:
    """The page with its tables written anew."""
    return TABLE.sub(lambda found: f"{found[1]}\n\n{_block(found[2], found[3])}\n\n<!-- end -->", text)


def _block(kind: str, names: str) -> str:
    if kind == "recipes":
        return _recipes(names.split())
    whole = {"all": _one_row_a_method, "own": _own_encoders}.get(names)
    return whole() if whole else _measured(names.split())


def _recipes(methods: Sequence[str]) -> str:
    found = [recipe for name in recipes.names() if (recipe := recipes.get(name)).method in methods]
    rows = [
        (f"`{each.name}`", f"`{each.backbone}`", each.data or "yours", f"{each.epochs:,}", f"{each.batch_size:,}")
        for each in found
    ]
    return table(("Recipe", "Network", "Data", "Epochs", "Batch"), rows)


def _measured(methods: Sequence[str]) -> str:
    sources = (_of_all_methods, _of_encoders, _of_cpc, _of_sounds)
    rows = {method: [row for source in sources for row in source(method)] for method in methods}
    if not any(rows.values()):
        return NONE
    missing = ", ".join(_title(method) for method, found in rows.items() if not found)
    left = f"\n\nNot measured here yet: {missing}." if missing else ""
    return table(HEADS, [row for found in rows.values() for row in found]) + left


def _of_all_methods(method: str) -> Iterator[Row]:
    report, file = _result("methods")
    for row in report["results"]:
        if row["method"] == method:
            knn = f"{_percent(row['knn_trained'])} (untrained {_percent(row['knn_untrained'])})"
            run = f"{_title(row['method'])}, {report['epochs']} epochs, half-width ResNet-18"
            yield run, f"CIFAR-10, {_count(report, 'bank')} images", knn, "", "", file


def _of_encoders(method: str) -> Iterator[Row]:
    """The encoders in the package, each on every data set that it was measured on."""
    for spec in list_specs(bundled=True):
        recipe = spec.recipe or {}
        if recipe.get("method") != method or spec.folder is None:
            continue
        found: dict[str, dict[str, str]] = {}
        labels: dict[str, int] = {}
        for row in read_json(spec.folder / EVALUATION)["results"]:
            spread = f" ± {100 * row['std']:.1f}" if row["std"] else ""
            found.setdefault(row["dataset"], {})[row["config"]] = f"{100 * row['value']:.1f}{spread} %"
            labels[row["dataset"]] = max(labels.get(row["dataset"], 0), row["labels"])
        for data, values in found.items():
            cells = (values.get(config, "") for config in ("knn_k20", "linear_probe", "lowshot_1pct"))
            on = f"{data_title(data)}, {labels[data]:,} images"
            yield (
                f"`{spec.name}`, {recipe['epochs']} epochs",
                on,
                *cells,
                f"`model_cards/{spec.folder.name}/{EVALUATION}`",
            )


def _of_cpc(method: str) -> Iterator[Row]:
    report, file = _result("cpc_ablation")
    if report["recipe"]["method"] != method:
        return
    untrained, whole = report["results"][:2]
    cells = (f"{_mean(whole, key)} (untrained {_mean(untrained, key)})" for key in ("knn", "linear"))
    run = f"`{report['recipe']['name']}`, {report['recipe']['epochs']} epochs"
    yield run, f"CIFAR-10, {int(report['data'].split()[1]):,} images", *cells, "", file


def _mean(row: Any, key: str) -> str:
    return _percent(mean(run[key] for run in row["runs"]))


def _of_sounds(method: str) -> Iterator[Row]:
    report, file = _result("audio_probe")
    if report["recipe"]["method"] != method:
        return
    of = {row["features"]: row for row in report["results"]}
    linear = ", ".join(
        f"{what} {_percent(of['CPC'][what])} (untrained {_percent(of['untrained encoder'][what])})"
        for what in ("digit", "speaker")
    )
    run = f"`{report['recipe']['name']}`, {report['recipe']['epochs']} epochs"
    yield run, f"{report['data']['name']}, {report['data']['train']:,} recordings", "", linear, "", file


def _one_row_a_method() -> str:
    report, file = _result("methods")
    rows = [
        (
            _title(row["method"]),
            _percent(row["knn_untrained"]),
            _percent(row["knn_trained"]),
            f"{row['seconds'] / 60:.0f}",
        )
        for row in sorted(report["results"], key=lambda row: -row["knn_trained"])
    ]
    what = (
        f"{_count(report, 'bank')} images of CIFAR-10, half-width ResNet-18, {report['epochs']} epochs, kNN on "
        f"{_count(report, 'queries')} test images ({file}):"
    )
    return f"{what}\n\n{table(('Method', 'Untrained', 'Trained', 'Minutes on one core'), rows)}"


def _own_encoders() -> str:
    report, file = _result("own_encoder")
    titles = {"own": "own encoder, trained on {images:,} images", "from scratch": "from scratch, on the labels alone"}
    rows = []
    for row in report["results"]:
        title = titles.get(row["encoder"], f"`{row['encoder']}`, in the package").format(images=row["images"] or 0)
        pairs = zip(row["accuracy"], row["std"], strict=True)
        rows.append((title, *(f"{100 * value:.1f} ± {100 * std:.1f} %" for value, std in pairs)))
    heads = ("Encoder", *(f"{n} label{'s' * (n > 1)} a class" for n in report["labels_per_class"]))
    what = f"{report['data']['name']}, {report['data']['test']:,} test images, mean and std of 3 draws ({file}):"
    return f"{what}\n\n{table(heads, rows)}"


def _result(name: str) -> tuple[Any, str]:
    """A file of measurements, and its name for readers."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")), f"`benchmarks/results/{name}.json`"


def _count(report: Any, what: str) -> str:
    """How many images the protocol of `methods.json` says there were, as `bank` or as `queries`."""
    pattern = r"bank (\d+)" if what == "bank" else r"(\d+) test"
    found = re.search(pattern, report["protocol"])
    if found is None:
        raise ValueError(f"the protocol does not say how many images there were: {report['protocol']}")
    return f"{int(found[1]):,}"


def _title(method: str) -> str:
    return method_title(method) + (" v1" if method.endswith("_v1") else "")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(page(each.read_text(encoding="utf-8")), encoding="utf-8")

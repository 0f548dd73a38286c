"""Write the tables of `docs/guides/which-encoder.md` from the files of the encoders: `python docs/encoder_table.py`."""

from __future__ import annotations

import re
from pathlib import Path

from cpchub.catalog.families import measured, published
from cpchub.catalog.licences import in_words
from cpchub.catalog.listing import list_specs
from cpchub.catalog.spec import CONFIG, EVALUATION, ModelSpec, read_json
from cpchub.catalog.timm_names import TIMM_NAMES
from cpchub.catalog.vocabulary import data_title, learned_from_labels, method_title
from cpchub.hub.card_tables import table

PAGE = Path(__file__).parent / "guides" / "which-encoder.md"
BLOCK = re.compile(r"<!-- table -->.*?<!-- end of the table -->", re.DOTALL)
CLASSES = ((30, "light"), (100, "medium"))  # by millions of parameters
HEADS = ("Name", "Method, data", "Linear probe, published", "kNN", "To fetch", "Parameters", "Class", "Licence")


def page(text: str) -> str:
    """The page with its tables written anew."""
    return BLOCK.sub(lambda _: f"<!-- table -->\n{block()}\n<!-- end of the table -->", text)


def block() -> str:
    """Both tables, and what they hold for."""
    specs = [spec for spec in list_specs() if spec.status in ("public", "bundled")]
    read = min(spec.origin.links_read for spec in specs if spec.origin is not None)
    ordered = sorted(specs, key=lambda spec: (-(published(spec) or 0.0), spec.name))
    own = [(f"`{name}`", f"`timm/{theirs}`") for name, theirs in TIMM_NAMES.items()]
    return "\n\n".join(
        [
            f"The links were last verified on {read.isoformat()} or later, from documents and not by opening them.",
            table(HEADS, map(_row, ordered)),
            "timm has DINO and DINOv2. `cpchub.load` and `--encoder` take these names for them, and convert nothing:",
            table(("Name", "timm's name"), own),
        ]
    )


def _row(spec: ModelSpec) -> tuple[str, ...]:
    assert spec.folder is not None  # they were read from one
    parameters = read_json(spec.folder / CONFIG)["cpchub"]["parameters"] / 1e6
    figure = published(spec)
    return (
        f"`{spec.name}`",
        f"{method_title(spec.method)}, {data_title(spec.data)}{' and its labels' * learned_from_labels(spec.method)}",
        "" if figure is None else f"{figure:.1%}",
        _knn(spec),
        "in the package" if spec.origin is None else spec.origin.sources[0].size_in_words,
        f"{parameters:,.1f} M",
        next((name for most, name in CLASSES if parameters <= most), "heavy"),
        in_words(spec.license),
    )


def _knn(spec: ModelSpec) -> str:
    """What was measured here, else what was published."""
    labels, accuracy = measured(spec)
    if labels:
        return f"{accuracy:.1%}, measured here"
    assert spec.folder is not None
    rows = read_json(spec.folder / EVALUATION)["results"]
    return next((f"{row['value']:.1%}, published" for row in rows if row["task"] == "knn"), "")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

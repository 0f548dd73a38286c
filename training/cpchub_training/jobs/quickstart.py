"""The quickstart: from unlabelled images to a collection that can be searched and classified, in a few minutes.

    images -> SimCLR -> model folder -> cpchub.load -> collection -> FAISS -> neighbours, classifiers, label curve

All output is in one folder: `pictures/` (digits only), `run/`, `run/export/`, `collection/`, `neighbours.png`,
`label_curve.png`, `results.json`. A second call repeats training and embedding only if the images have changed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
from PIL import Image

from cpchub.catalog.listing import bundled_encoder
from cpchub.collection.collection import Collection
from cpchub.common.files import check_free, replacing, write_json
from cpchub.common.progress import console
from cpchub.common.words import typed
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.errors import OtherRunError, OutputError, SourceError
from cpchub.index import Index
from cpchub.media.contact_sheet import Tile, contact_sheet
from cpchub.media.rules import NO_RULES, Rules
from cpchub_training import data, recipes
from cpchub_training.data.left_out import tell_left_out
from cpchub_training.jobs.few_labels import compare_few_labels
from cpchub_training.jobs.pretrain import export_run
from cpchub_training.recipes import Recipe
from cpchub_training.run.loop import train

OURS = ("pictures", "run", "collection", "neighbours.png", "label_curve.png", "results.json")
SEARCHED = 2000  # images whose neighbours are counted


def run(
    images: Path | None,
    out: Path,
    *,
    recipe: Recipe | None = None,
    scratch_steps: int = 200,
    rules: Rules = NO_RULES,
) -> Path:
    """Do the job on `images` (scikit-learn's digits if None) and return the folder of the collection.

    rules: which images are left out, if no recipe says it.

    A folder with one sub-folder per class gets the label curve as well. Labels are used for measuring only, never for
    pretraining. Raises `SourceError` for a folder without usable images, `OutputError` for
    an `out` that holds something else or lies among the images.
    """
    started = time.monotonic()
    _check_out(out, images)
    given = _digits(out / "pictures", recipe) if images is None else _own_images(images, recipe, rules)
    recipe, train_set, test_set = given.recipe, given.train_set, given.test_set
    out.mkdir(parents=True, exist_ok=True)
    _say(1, f"Pretraining a small encoder with SimCLR on {len(train_set):,} images, without looking at any label")
    try:
        result = train(recipe, out / "run", images=train_set)
    except OtherRunError as changed:
        console.print(f"   The images or settings are not those of the last time, so it starts again ({changed})")
        for made in ("run", "collection"):  # vectors of another encoder cannot be reused
            shutil.rmtree(out / made, ignore_errors=True)
        result = train(recipe, out / "run", images=train_set)

    _say(2, "Exporting it as a Hub repository: config, safetensors weights, recipe, model card")
    backbone = result.backbone
    exported = export_run(recipe, backbone, out / "run" / "export", len(train_set))

    _say(3, f'Loading it back by name: cpchub.load("{exported}")')
    encoder = load(str(exported))

    _say(4, f"Embedding the collection with it, {encoder.dim} numbers an image")
    collection = embed(given.folder, out / "collection", encoder, labels=given.labels, rules=recipe.rules)

    _say(5, "Building the FAISS index and searching it")
    index = Index.build(collection)
    results: dict[str, Any] = {"encoder": recipe.name, "pictures": len(collection)}
    results |= _search(collection, index, out / "neighbours.png")

    if test_set is not None:
        _say(6, "Classifying from a few labels, beside the encoder in the package and the network trained from scratch")
        results |= compare_few_labels(recipe, encoder, train_set, test_set, scratch_steps, out / "label_curve.png")
    else:
        console.print("   Too few images in class folders to measure an accuracy with; label some in the demo.")
    results["seconds"] = round(time.monotonic() - started, 1)
    write_json(out / "results.json", results)
    console.print(f"\nDone in {results['seconds']:.0f} s. All of it is in {out}", soft_wrap=True)
    for sentence in what_next(out, results, own=images is not None):
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    return out / "collection"


def what_next(out: Path, results: Mapping[str, Any], *, own: bool) -> Iterator[str]:
    """The commands that go on from here; for other images the encoder that did better on these."""
    collection = out / "collection"
    yield f"Search it: {typed('search', collection, 'IMAGE')}"
    yield f"Label it in the browser: {typed('demo', collection)}"
    if own:
        means = {name: fmean(curve["mean"]) for name, curve in results.get("accuracy", {}).items()}
        if means and means["package"] > means["frozen"]:
            again = typed("index", "IMAGES", "-o", "OUT", "--encoder", bundled_encoder())
            yield f"Embed other images with the encoder in the package, which did better on these: {again}"
        else:
            again = typed("index", "IMAGES", "-o", "OUT", "--encoder", out / "run")
            yield f"Embed other images with this encoder: {again}"
    else:
        yield f"The same on images of your own: {typed('quickstart', '--images', 'IMAGES')}"


def _check_out(out: Path, images: Path | None) -> None:
    check_free(out, known=OURS, way_out="no quickstart wrote that, so choose another --out")
    if images is not None and images.resolve() in (out.resolve(), *out.resolve().parents):
        raise OutputError(f"{out} lies among the images of {images}; choose an --out elsewhere")


@dataclass(frozen=True)
class _Given:
    """What to pretrain and measure on. labels: where `embed` takes them from; test_set: None where none is held out."""

    folder: Path
    recipe: Recipe
    labels: Literal["folders"] | None
    train_set: data.Images
    test_set: data.Images | None


def _digits(folder: Path, recipe: Recipe | None) -> _Given:
    train_set, test_set = data.digits("train"), data.digits("test")
    _write_digits(folder, (train_set, test_set))
    return _Given(folder, recipe or recipes.get("simclr_digits"), "folders", train_set, test_set)


def _own_images(images: Path, recipe: Recipe | None, rules: Rules) -> _Given:
    console.print(f"Reading the images of {images}", soft_wrap=True)
    listed = data.own_images(str(images), recipe.rules if recipe else rules)
    recipe = recipe or recipe_for(images, len(listed), rules)
    whole = data.in_memory(listed, data.title(str(images)), recipe.stored_size)
    tell_left_out(whole.skipped, len(whole) + len(whole.skipped), whole.name)
    return _Given(images, recipe, "folders" if listed.by_folders else None, *_split(whole))


def _write_digits(folder: Path, parts: Sequence[data.Images]) -> None:
    """The digits as PNG files in a folder a class, as a user's images would lie."""
    i = 0
    for part in parts:
        for image, label in zip(part.images.numpy(), part.class_of_each(), strict=True):
            path = folder / str(label) / f"{i:04d}.png"
            i += 1
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as partial:
                    Image.fromarray(image[0]).save(partial, format="PNG")


def recipe_for(images: Path, n: int, rules: Rules) -> Recipe:
    """SimCLR for n photos: about 30,000 images seen, but at least one epoch; about two minutes on two cores."""
    if n < 32:
        raise SourceError(f"{images} has {n} images; pretraining needs at least 32, some thousands to be any good")
    base = recipes.get("simclr_photos_quickstart")
    batch = min(base.batch_size, n // 2)
    base = replace(base, exclude=rules.exclude, include_system=rules.include_system, follow_links=rules.follow_links)
    return replace(base, data=str(images), batch_size=batch, epochs=max(1, round(30_000 / n)))


def _split(images: data.Images) -> tuple[data.Images, data.Images | None]:
    """Hold out a fifth of each class for measuring. Nothing is held out without classes, or if a class has fewer than
    five images."""
    if images.labels is None or np.bincount(images.class_of_each()).min() < 5:
        return images, None
    y, rng = images.class_of_each(), np.random.default_rng(0)
    fifths = [rows[: len(rows) // 5] for rows in (rng.permutation(np.flatnonzero(y == c)) for c in np.unique(y))]
    held_out = np.sort(np.concatenate(fifths))
    return images.subset(np.setdiff1d(np.arange(len(y)), held_out)), images.subset(held_out)


def _search(collection: Collection, index: Index, sheet: Path) -> dict[str, Any]:
    """Draw the neighbours of ten images on a contact sheet; measure how often the five nearest images share the
    query's label."""
    labels = collection.items["label"].to_pylist()
    first_of_each = sorted({label: row for row, label in reversed(list(enumerate(labels)))}.values())
    queries = first_of_each if len(first_of_each) > 1 else list(range(0, len(labels), max(1, len(labels) // 10)))
    rows = []
    for row in queries[:10]:
        hits = index.search_row(row, k=min(8, len(collection)))
        tiles = [Tile(collection.image(h.row), f"{h.score:.3f}") for h in hits if h.row != row]
        rows.append([Tile(collection.image(row), "query", highlighted=True), *tiles])
    contact_sheet(rows, sheet, title="An image of the collection (left) and its nearest neighbours")
    console.print(f"   Neighbours: {sheet}", soft_wrap=True)
    if labels[0] is None:
        return {}
    asked = np.random.default_rng(0).permutation(len(collection))[:SEARCHED]
    _, nearest = index.search_vectors(collection.vectors()[asked], k=min(6, len(collection)))
    given, others = np.array(labels), nearest != asked[:, None]  # an image is not its own neighbour
    agree = float((given[nearest] == given[asked][:, None])[others].mean())
    console.print(f"   Of the five nearest neighbours of an image, {agree:.1%} show the same class.")
    return {"neighbours_of_same_class": round(agree, 4)}


def _say(number: int, what: str) -> None:
    console.print(f"\n[bold]{number}. {what}[/bold]", soft_wrap=True)

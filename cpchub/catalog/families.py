"""Short names for families of methods: `simclr` is the best SimCLR encoder that loads here without a network.

"Here" is: shipped with the package, in CPCHUB_HUB, or in the catalog and already in the Hub's cache. "Best" is by
measurement, never by name or date: the highest kNN accuracy in `eval.json`, on the data set with the most labelled
images that the encoder was measured on. kNN, because it exists for every encoder and has no tuning; the larger data
set first, because 70 % with 10 classes says less than 60 % with 1,000. An encoder that was not measured comes last; a
tie goes to the name that sorts first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cpchub.catalog.origin import converted_folder
from cpchub.catalog.spec import EVALUATION, WEIGHTS, ModelSpec, read_json
from cpchub.catalog.vocabulary import method_of
from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD


class Family(NamedTuple):
    """What a short name means if no encoder of the family is on this machine."""

    title: str
    network: str  # a catalog entry, or an architecture that timm or we register
    dim: int
    recipe: str | None = None  # the training recipe to begin with; a catalog entry names its own
    normalised: bool = True  # whether its images are shifted and scaled by ImageNet's mean and std


FAMILIES = {
    "cpc": Family("CPC", "cpc-resnet170", 4096),
    "simclr": Family("SimCLR", "simclr_resnet50_1x", 2048, "simclr_resnet18_cifar10_200e", normalised=False),
    "moco": Family("MoCo", "resnet50", 2048, "moco_v2_resnet18_cifar10_200e"),
    "instdisc": Family("InstDisc", "resnet50", 2048, "instdisc_resnet18_cifar10_200e"),
    "invaspread": Family("InvaSpread", "resnet18", 512, "inva_spread_resnet18_cifar10_200e"),
    "cmc": Family("CMC", "cmc_resnet50_v1", 2048, "cmc_resnet18_cifar10_200e", normalised=False),
    "supcon": Family("SupCon", "resnet50", 2048, "supcon_resnet18_cifar10_200e"),
}


def family_name(name: str) -> str | None:
    """The family that a name stands for, `inva-spread` and `sup_con` too; None for any other name."""
    compact = name.strip().lower().replace("-", "").replace("_", "")
    return compact if compact in FAMILIES else None


def members(family: str, specs: Iterable[ModelSpec]) -> list[ModelSpec]:
    """The encoders of a family, the best measured first."""
    own = [spec for spec in specs if (method := method_of(spec.method)) is not None and method.family == family]
    return best_first(own)


def best_first(specs: Iterable[ModelSpec]) -> list[ModelSpec]:
    """Encoders by what was measured, the best first."""
    return sorted(specs, key=lambda spec: (*(-value for value in measured(spec)), spec.name))


def best_offline(family: str, specs: Iterable[ModelSpec], cache_dir: str | Path | None = None) -> ModelSpec | None:
    """The best encoder of a family whose weights are on this machine, or None."""
    return next((spec for spec in members(family, specs) if is_here(spec, cache_dir)), None)


def untrained(family: str) -> ModelSpec:
    """The untrained network of a family without a catalog entry, with ImageNet's input size, as in the papers."""
    known = FAMILIES[family]
    return ModelSpec(
        name=family,
        architecture=known.network,
        dim=known.dim,
        input_size=(3, 224, 224),
        mean=IMAGENET_MEAN if known.normalised else (0.0, 0.0, 0.0),
        std=IMAGENET_STD if known.normalised else (1.0, 1.0, 1.0),
        crop_pct=0.875,
        method=known.title,
        status="recipe",
        summary=f"The network of {known.title} at ImageNet's scale, untrained.",
        recipe={"name": known.recipe} if known.recipe else None,
    )


def measured(spec: ModelSpec) -> tuple[int, float]:
    """(labelled images, accuracy) of the best kNN measurement of an encoder; (0, 0) without one.

    What others have published of it was measured otherwise, and does not count.
    """
    path = spec.folder / EVALUATION if spec.folder else None
    if path is None or not path.is_file():
        return 0, 0.0
    results = read_json(path).get("results", [])
    rows = [row for row in results if row.get("task") == "knn" and not row.get("published")]
    counts = ((row.get("labels"), float(row["value"])) for row in rows)
    return max(((count if isinstance(count, int) else 0, value) for count, value in counts), default=(0, 0.0))


def published(spec: ModelSpec) -> float | None:
    """The accuracy of a linear probe that the authors of a public encoder have published; None without one."""
    path = spec.folder / EVALUATION if spec.folder else None
    if path is None or not path.is_file():
        return None
    rows = read_json(path).get("results", [])
    values = [float(row["value"]) for row in rows if row.get("published") and row.get("task") == "linear"]
    return values[0] if values else None


def is_here(spec: ModelSpec, cache_dir: str | Path | None = None) -> bool:
    """Whether the encoder's weights can be had without a network."""
    if spec.folder is not None and (spec.folder / WEIGHTS).is_file():
        return True
    if spec.origin is not None:
        return (converted_folder(spec.name, cache_dir) / WEIGHTS).is_file()
    if spec.repo_id is None or spec.revision is None:
        return False
    from huggingface_hub import try_to_load_from_cache  # only where there are released encoders to look for

    cached = try_to_load_from_cache(spec.repo_id, WEIGHTS, cache_dir=cache_dir, revision=spec.revision)
    return isinstance(cached, str)

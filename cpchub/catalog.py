"""The catalog: which encoders there are, and what is known about each.

An entry is a folder with the files of a published repository, `model_cards/<name>/`. Its `config.json` and `eval.json`
are the single source for the registry, the card and the tests. An entry with weights is `bundled`; one with a
`release.json` (repository, 40-hex revision, sha256 of each file) is on the Hub; one with neither is a `recipe`.

    CPCHUB_HUB=/path   adds a folder of published encoders, `/path/<name>` or `/path/<org>/<name>`
    CPCHUB_ORG=name    the Hub organisation of names without one

Nothing here imports torch: listing and describing encoders is instant.
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpchub.errors import ArgumentError, HubError, ModelFolderError, UnknownModelError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
RECIPE = "recipe.json"
EVALUATION = "eval.json"
RELEASE = "release.json"  # stands beside the published files, is never one of them
PUBLISHED_FILES = (CONFIG, WEIGHTS, CARD, RECIPE, EVALUATION)
STATUSES = ("bundled", "hub", "recipe")  # in the catalog; a folder loaded by its path is "local"


@dataclass(frozen=True)
class FileRecord:
    """What a file must be: its sha256 in hex, and its size in bytes where that is on record."""

    sha256: str
    size: int | None = None


@dataclass(frozen=True)
class ModelSpec:
    """All that is known about one encoder. `dim` is D of `[N, D]`; `input_size` is (C, H, W)."""

    name: str
    architecture: str
    dim: int
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    crop_pct: float = 1.0
    crop_mode: str = "center"
    method: str = ""
    data: str = ""
    license: str = ""
    status: str = "local"
    summary: str = ""
    repo_id: str | None = None
    revision: str | None = None
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def weights_sha256(self) -> str | None:
        """The sha256 of `model.safetensors`, or None for a recipe."""
        record = self.files.get(WEIGHTS)
        return record.sha256 if record else None

    @property
    def transform(self) -> dict[str, Any]:
        """How a picture becomes the input tensor, in timm's terms."""
        return {
            "input_size": list(self.input_size),
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
            "crop_mode": self.crop_mode,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change whenever the vectors would: weights, network or transform.

        The name is not part of it, so a renamed or re-published encoder still opens its collections.
        """
        identity = {
            "architecture": self.architecture,
            "model_args": {key: value for key, value in self.model_args.items() if key != "num_classes"},
            "weights": self.weights_sha256,
            "transform": self.transform,
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_folder(cls, path: str | Path, *, status: str = "local") -> ModelSpec:
        """Read a model folder (a published repository, or any folder that timm's `local-dir:` takes).

        Raises ModelFolderError when `config.json` is missing or does not describe a network.
        """
        folder = Path(path)
        config = read_json(folder / CONFIG)
        try:
            return _spec_from_config(config, folder, status)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFolderError(
                f"{folder / CONFIG} does not describe an encoder ({type(error).__name__}: {error}); "
                "export the folder again, or write it in timm's schema"
            ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model folder; ModelFolderError if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"{path.parent} has no {path.name}; a model folder is what `export` writes") from None
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelFolderError(f"{path} holds a {type(content).__name__}, not an object of names and values")
    return content


def list_models(
    pattern: str = "*", *, method: str | None = None, bundled: bool | None = None, status: str | None = None
) -> list[str]:
    """Names in the catalog that match a wildcard, in natural order (resnet18 before resnet101).

    `method` is for example "simclr"; `bundled=True` keeps those whose weights ship with the package; `status` is one
    of "bundled", "hub", "recipe". Hyphens and underscores are alike. A broken folder in CPCHUB_HUB is left out with a
    warning; HubError where CPCHUB_HUB itself is not there.
    """
    if status is not None and status not in STATUSES:
        raise ArgumentError(f"status is {status!r}; it is one of {', '.join(STATUSES)}")
    wanted = canonical(pattern)
    names = []
    for spec in _specs(_warn):
        if not any(fnmatch.fnmatchcase(canonical(name), wanted) for name in (spec.name, *spec.aliases)):
            continue
        if method is not None and canonical(spec.method) != canonical(method):
            continue
        if bundled is not None and (spec.status == "bundled") != bundled:
            continue
        if status is not None and spec.status != status:
            continue
        names.append(spec.name)
    return sorted(dict.fromkeys(names), key=_natural)


def get_spec(name: str) -> ModelSpec:
    """The catalog's entry of that name; hyphens and underscores alike, aliases and `org/name` too.

    Raises UnknownModelError, whose message offers the nearest names, and ModelFolderError where the folder of that name
    in CPCHUB_HUB is broken.
    """
    wanted = canonical(name)
    known: dict[str, None] = {}
    broken: dict[str, ModelFolderError] = {}

    def set_aside(folder: Path, error: ModelFolderError) -> None:
        broken.update(dict.fromkeys(map(canonical, (folder.name, f"{default_org()}/{folder.name}")), error))

    for spec in _specs(set_aside):
        names = (spec.name, *spec.aliases, f"{default_org()}/{spec.name}", spec.repo_id or spec.name)
        if wanted in map(canonical, names):
            return spec
        known.update(dict.fromkeys((spec.name, *spec.aliases)))
    if wanted in broken:
        raise broken[wanted]
    raise UnknownModelError(_unknown(name, list(known)))


def canonical(name: str) -> str:
    """The form in which names are compared."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def default_org() -> str:
    """The Hub organisation of names that have none (`CPCHUB_ORG`)."""
    return os.environ.get("CPCHUB_ORG") or "cpchub"


def folder_hub() -> Path | None:
    """The folder of published encoders that stands in for the Hub (`CPCHUB_HUB`), if one is set."""
    value = os.environ.get("CPCHUB_HUB")
    return Path(value).expanduser() if value else None


def catalog_folder() -> Path:
    """Where the built-in entries are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "model_cards"
    return installed if installed.is_dir() else package.parent / "model_cards"


def _specs(on_broken: Callable[[Path, ModelFolderError], None]) -> Iterator[ModelSpec]:
    """Every entry, the package's own first. A broken folder of CPCHUB_HUB, which others fill, goes to `on_broken`."""
    for folder in _model_folders(catalog_folder()):
        yield _own_spec(folder)
    hub = folder_hub()
    if hub is None:
        return
    if not hub.is_dir():
        raise HubError(
            f"CPCHUB_HUB is {hub}, where there is no folder; mount it, correct the path, or unset CPCHUB_HUB"
        )
    for folder in _model_folders(hub):
        try:
            spec = ModelSpec.from_folder(folder, status="hub")
        except ModelFolderError as error:
            on_broken(folder, error)
            continue
        yield spec


def _warn(folder: Path, error: ModelFolderError) -> None:
    warnings.warn(f"{folder} in CPCHUB_HUB is left out: {error}", stacklevel=3)


def _model_folders(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        return
    for child in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if (child / CONFIG).is_file():
            yield child
        else:
            yield from (
                grandchild
                for grandchild in sorted(child.iterdir())
                if not grandchild.name.startswith(".") and (grandchild / CONFIG).is_file()
            )


def _own_spec(folder: Path) -> ModelSpec:
    if (folder / WEIGHTS).is_file():
        return ModelSpec.from_folder(folder, status="bundled")
    return ModelSpec.from_folder(folder, status="hub" if (folder / RELEASE).is_file() else "recipe")


def _spec_from_config(config: Mapping[str, Any], folder: Path, status: str) -> ModelSpec:
    pretrained = config.get("pretrained_cfg", config)  # old timm repositories have one flat dictionary
    facts = config.get("cpchub", {})
    name = facts.get("name") or folder.resolve().name
    repo_id, revision = None, None
    files = file_records(facts.get("weights", {}))
    if (folder / RELEASE).is_file():
        release = read_json(folder / RELEASE)
        repo_id = str(release.get("repo_id") or name)
        repo_id = repo_id if "/" in repo_id else f"{default_org()}/{repo_id}"
        revision = release.get("revision")
        files = {**files, **file_records(release.get("files", {}))}
    channels, height, width = (int(side) for side in pretrained.get("input_size", (3, 224, 224)))
    recipe = folder / RECIPE
    return ModelSpec(
        name=name,
        architecture=config["architecture"],
        dim=int(config["num_features"]),
        input_size=(channels, height, width),
        mean=tuple(float(value) for value in pretrained.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(float(value) for value in pretrained.get("std", (0.229, 0.224, 0.225))),
        interpolation=pretrained.get("interpolation") or "bicubic",
        crop_pct=float(pretrained.get("crop_pct") or 0.875),  # timm's default for both
        crop_mode=pretrained.get("crop_mode") or "center",
        method=facts.get("method", ""),
        data=facts.get("data", ""),
        license=facts.get("license") or pretrained.get("license") or "",
        status=status,
        summary=facts.get("summary", ""),
        repo_id=repo_id,
        revision=revision,
        files=files,
        metrics=_metrics(folder / EVALUATION),
        recipe=read_json(recipe) if recipe.is_file() else None,
        model_args=dict(config.get("model_args") or {}),
        aliases=tuple(facts.get("aliases", ())),
        folder=folder,
    )


def file_records(files: Mapping[str, Any]) -> dict[str, FileRecord]:
    """Records from JSON: `{filename: sha256}` or `{filename: {"sha256", "size"}}`."""
    return {
        name: FileRecord(value) if isinstance(value, str) else FileRecord(value["sha256"], value.get("size"))
        for name, value in files.items()
    }


def _metrics(path: Path) -> dict[str, float]:
    """One number per measurement of eval.json, keyed by its config ("knn_k200"), or by task and data set."""
    if not path.is_file():
        return {}
    results = read_json(path).get("results", [])
    return {row.get("config") or f"{row['task']}/{row['dataset']}": float(row["value"]) for row in results}


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name.lower())]


def _unknown(name: str, known: list[str]) -> str:
    by_canonical = {canonical(each): each for each in known}
    wanted = canonical(name)
    near = [by_canonical[each] for each in difflib.get_close_matches(wanted, by_canonical, n=3, cutoff=0.4)]
    near += [by_canonical[each] for each in by_canonical if wanted in each and by_canonical[each] not in near]
    if near:
        offer = f"did you mean {' or '.join(repr(each) for each in near[:3])}?"
    elif known:
        offer = f"the catalog has {', '.join(sorted(known, key=_natural)[:5])}."
    else:
        offer = "the catalog is empty."
    return (
        f"There is no encoder called {name!r}: {offer} Also taken: a model folder, a Hub id (org/name), "
        "any timm name (timm/resnet18)."
    )

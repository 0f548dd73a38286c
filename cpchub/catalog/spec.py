"""`ModelSpec`: the description of one encoder, read from the files of a published repository.

`config.json` (timm's schema, with our facts under `cpchub`), `eval.json` and `recipe.json` are the single source for
the registry, the card and the tests; beside them stands `release.json` of an encoder on the Hub, and `origin.json` of
one whose checkpoint is its authors'. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpchub.catalog.origin import ORIGIN, Origin
from cpchub.common.files import check_free, expanded
from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub.errors import ArgumentError, ModelFolderError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
RECIPE = "recipe.json"
EVALUATION = "eval.json"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".tar")
RELEASE = "release.json"  # stands beside the published files, is never one of them
PUBLISHED_FILES = (CONFIG, WEIGHTS, CARD, RECIPE, EVALUATION)
STATUSES = ("bundled", "hub", "public", "recipe")  # in the catalog; a folder loaded by its path is "local"


@dataclass(frozen=True)
class FileRecord:
    """The recorded sha256 of a file in hex, and its size in bytes if that is recorded."""

    sha256: str
    size: int | None = None


@dataclass(frozen=True)
class ModelSpec:
    """The description of one encoder. `dim` is D of `[N, D]`; `input_size` is (C, H, W).

    An encoder of sound has a `sample_rate`, in samples a second, and takes (1, 1, samples).
    """

    name: str
    architecture: str
    dim: int
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    crop_pct: float = 1.0
    crop_mode: str = "center"
    sample_rate: int | None = None
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
    origin: Origin | None = None

    @property
    def weights_sha256(self) -> str | None:
        """The sha256 of `model.safetensors`, or None for a recipe."""
        record = self.files.get(WEIGHTS)
        return record.sha256 if record else None

    @property
    def transform(self) -> dict[str, Any]:
        """How an image becomes the input tensor, in timm's terms. For a sound, the sample rate."""
        if self.sample_rate is not None:
            return {"sample_rate": self.sample_rate}
        return {
            "input_size": list(self.input_size),
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
            "crop_mode": self.crop_mode,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def check_takes_images(self, what: str) -> None:
        """Raise ArgumentError for an encoder of sounds. what: the call or command that needs images."""
        if self.sample_rate is not None:
            raise ArgumentError(
                f"{self.name} takes sounds, but {what} needs an encoder of images; for vectors of sounds call "
                "encoder.encode(sounds)"
            )

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
        except ModelFolderError:  # one of the other files; it is a ValueError too
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFolderError(
                f"{folder / CONFIG} does not describe an encoder ({type(error).__name__}: {error}); "
                "export the folder again, or write it in timm's schema"
            ) from error


def check_model_folder(out: Path) -> None:
    """Raise OutputError where a model folder that is to be written would lie among other files."""
    check_free(expanded(out), known=PUBLISHED_FILES, way_out="choose another folder for the encoder")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model folder; ModelFolderError if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(
            f"{path.parent} has no {path.name}; name a run folder, or a model folder, which `cpchub import` writes"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelFolderError(f"{path} holds a {type(content).__name__}, not an object of names and values")
    return content


def default_org() -> str:
    """The Hub organisation of names that have none (`CPCHUB_ORG`)."""
    return os.environ.get("CPCHUB_ORG") or "cpchub"


def _spec_from_config(config: Mapping[str, Any], folder: Path, status: str) -> ModelSpec:
    pretrained = config.get("pretrained_cfg", config)  # old timm repositories have one flat dictionary
    facts = config.get("cpchub", {})
    name = facts.get("name") or folder.resolve().name
    repo_id, revision = None, None
    files = file_records(facts.get("weights", {}))
    if (folder / RELEASE).is_file():
        release = read_json(folder / RELEASE)
        repo_id = release.get("repo_id")  # a folder of CPCHUB_HUB has none, wherever it is mounted
        if repo_id and "/" not in repo_id:
            repo_id = f"{default_org()}/{repo_id}"
        revision = release.get("revision")
        files = {**files, **file_records(release.get("files", {}))}
    channels, height, width = (int(side) for side in pretrained.get("input_size", (3, 224, 224)))
    return ModelSpec(
        name=name,
        architecture=config["architecture"],
        dim=int(config["num_features"]),
        input_size=(channels, height, width),
        mean=tuple(float(value) for value in pretrained.get("mean", IMAGENET_MEAN)),
        std=tuple(float(value) for value in pretrained.get("std", IMAGENET_STD)),
        interpolation=pretrained.get("interpolation") or "bicubic",
        crop_pct=float(pretrained.get("crop_pct") or 0.875),  # timm's default for both
        crop_mode=pretrained.get("crop_mode") or "center",
        sample_rate=int(facts["sample_rate"]) if facts.get("sample_rate") else None,
        method=facts.get("method", ""),
        data=facts.get("data", ""),
        license=facts.get("license") or pretrained.get("license") or "",
        status=status,
        summary=facts.get("summary", ""),
        repo_id=repo_id,
        revision=revision,
        files=files,
        metrics=_metrics(folder / EVALUATION),
        recipe=_recipe(folder / RECIPE, facts),
        model_args=dict(config.get("model_args") or {}),
        aliases=tuple(facts.get("aliases", ())),
        folder=folder,
        origin=Origin.of(read_json(folder / ORIGIN), folder / ORIGIN) if (folder / ORIGIN).is_file() else None,
    )


def _recipe(path: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings that trained the encoder; for an untrained entry, the name of the recipe that would train it."""
    if path.is_file():
        return read_json(path)
    return {"name": facts["recipe"]} if facts.get("recipe") else None


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

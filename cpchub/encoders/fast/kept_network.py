"""Networks that an engine has converted, kept in the user's cache for the next job, also one without torch.

An entry is of one encoder (by its fingerprint), one engine, one set of versions and one kind of processor. It holds the
engine's files, their sha256, and the vectors that the plain network gave for a few test images when it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cpchub.catalog.spec import ModelSpec
from cpchub.common.files import write_json
from cpchub.common.hashing import bytes_sha256, file_sha256
from cpchub.common.kept import Kept, own_cache
from cpchub.common.vectors import unit_length
from cpchub.encoders.fast import processor
from cpchub.encoders.fast.engines import Engine, versions
from cpchub.encoders.fast.squares import Squares

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
LIMIT = 4 * 10**9  # bytes of all entries: some forty networks of the size of ResNet-50
ABOUT, VECTORS = "about.json", "vectors.npy"
TEST_IMAGES = 2


def kept_networks() -> Kept:
    """The cache of them. Raises OutputError for a user without a home folder."""
    return Kept(own_cache("networks"), LIMIT)


def key_of(spec: ModelSpec, engine: Engine) -> str:
    """The name of an encoder's entry; it changes with all that the files and their speed depend on."""
    facts = {
        "format": FORMAT,
        "engine": engine.name,
        "versions": versions(engine),
        "processor": processor.cpu_identity(),
        "input_size": list(spec.input_size),
    }
    digest = bytes_sha256(json.dumps(facts, sort_keys=True).encode())
    return f"{spec.fingerprint}-{engine.name.lower()}-{digest[:16]}"


@dataclass(frozen=True)
class KeptNetwork:
    """An entry that is whole. state: the sha256 of the weights, see `state_of`."""

    folder: Path
    encoder: str
    engine: str
    squares: Squares
    state: str
    vectors: npt.NDArray[np.float32]

    @classmethod
    def read(cls, folder: Path) -> KeptNetwork:
        """The entry in a folder. Raises ValueError or OSError where it is not what was written."""
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        try:
            for name, sha256 in about["files"].items():
                if file_sha256(folder / name) != sha256:
                    raise ValueError(f"{name} has changed")
            squares = Squares.from_record(about["squares"])
            return cls(
                folder,
                about["encoder"],
                about["engine"],
                squares,
                about["state"],
                np.load(folder / VECTORS, allow_pickle=False),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{ABOUT} is incomplete ({error})") from error

    def test_images(self) -> npt.NDArray[np.uint8]:
        """The images whose vectors are recorded, `[TEST_IMAGES, H, W, C]`."""
        return self.squares.test_images(TEST_IMAGES)


def name_of(folder: Path) -> tuple[str, str]:
    """Engine and encoder of an entry, for people; of one that is damaged, that it is."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return str(about["engine"]), str(about["encoder"])
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged", folder.name


def write(
    folder: Path,
    spec: ModelSpec,
    engine: Engine,
    squares: Squares,
    network: nn.Module,
    normalise: Callable[[npt.NDArray[np.uint8]], Tensor],
) -> None:
    """Convert a network, and write its entry into an empty folder. normalise: pixels to what the network takes."""
    import torch

    images = normalise(squares.test_images(TEST_IMAGES))
    engine.convert(network, images, folder)
    with torch.no_grad():
        np.save(folder / VECTORS, network(images).float().numpy(), allow_pickle=False)
    about = {
        "encoder": spec.name,
        "fingerprint": spec.fingerprint,
        "engine": engine.name,
        "versions": versions(engine),
        "squares": squares.record(),
        "state": state_of(network),
        "files": {path.name: file_sha256(path) for path in sorted(folder.iterdir())},
    }
    write_json(folder / ABOUT, about)


def state_of(network: nn.Module) -> str:
    """The sha256 of a network's weights and buffers, with their names."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().numpy().view(np.uint8))
    return digest.hexdigest()


def is_of_its_files(model: Any, spec: ModelSpec) -> bool:
    """Whether the weights of a network are those that its spec stands for: nobody has trained it on since.

    A network whose weights timm changes while it reads them counts as another one.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save

    from cpchub.catalog.spec import WEIGHTS

    state = model.state_dict()
    file = spec.folder / WEIGHTS if spec.folder is not None else None
    if file is None or not file.is_file():
        return bytes_sha256(save({key: value.contiguous() for key, value in state.items()})) == spec.weights_sha256
    try:
        with safe_open(file, framework="pt") as stored:
            there = set(stored.keys())
            return all(key in there and state[key].equal(stored.get_tensor(key)) for key in state)
    except (OSError, SafetensorError):
        return False


def agreement(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """The least cosine between vectors `[B, D]` of the same images; 0 where one of them has none."""
    if found.shape != expected.shape:
        return 0.0
    cosines: Sequence[float] = (unit_length(found) * unit_length(expected)).sum(1)
    return float(np.nan_to_num(cosines, nan=0.0).min())

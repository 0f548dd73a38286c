"""Inference engines for embedding on a CPU, MNN and OpenVINO: what they have in common, and which of them to take.

An engine writes a torch network to files, and opens these files again, also in a process without torch. The files are
the network's graph and its weights; opening them executes nothing that is in them. Both compute in float32, as torch
does; OpenVINO computes in bfloat16 if asked to.

A lane is a thread that calls the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cpchub.encoders.fast import processor
from cpchub.encoders.fast.squares import Squares

if TYPE_CHECKING:
    from torch import Tensor, nn

# A batch of what `Squares.prepare` gives, uint8 `[B, H, W, C]`, or normalised, float32 `[B, C, H, W]` -> `[B, D]`
Run: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]

STEP = 16  # images that a lane of a CPU takes at once: more is no faster and needs more memory


@dataclass(frozen=True)
class Setting:
    """How a network is opened.

    shape: C, H and W of the images. squares: how their pixels become what the network takes; None where the images come
    normalised. lanes: how many threads may call the network at the same time. threads: cores that a lane works on.
    bfloat16: whether to compute in it.
    """

    shape: tuple[int, int, int]
    squares: Squares | None
    lanes: int = 1
    threads: int = 1
    bfloat16: bool = False


class Engine(Protocol):
    """An engine. packages: those whose versions its files depend on.

    worth: pixels that a job must have in all its images, so that converting the network repays itself in this job and
    the next. It takes as long as a second job gains.
    """

    name: str
    packages: tuple[str, ...]
    worth: int

    def convert(self, network: nn.Module, x: Tensor, folder: Path) -> None:
        """Write a network into an empty folder. x: example images `[B, C, H, W]`; later batches may be of any size.

        Raises RuntimeError if the engine cannot run the network.
        """

    def opened(self, folder: Path, setting: Setting) -> Run:
        """The network that `convert` wrote. Raises RuntimeError where the files are not those of a network."""


def installed_engines() -> list[Engine]:
    """The engines whose packages are installed."""
    from cpchub.encoders.fast.mnn_engine import Mnn
    from cpchub.encoders.fast.openvino_engine import OpenVino

    return [engine() for engine in (OpenVino, Mnn) if engine.is_installed()]


def versions(engine: Engine) -> dict[str, str]:
    """The versions that decide what the engine's files hold; no package is imported."""
    return {name: metadata.version(name) for name in (*engine.packages, "torch", "timm")}


def engine_here(*, lanes: int, weights: int, convolves: bool) -> Engine | None:
    """The engine that is fastest on this processor, of those that are installed; None where none is.

    weights: bytes of the network's weights. convolves: whether it has convolutions that MNN computes faster.

    OpenVINO is the fastest on processors with AVX-512, in float32 as in bfloat16 (of ResNet-18 it computes twice as
    many images as torch, MNN 1.5 times as many). Without AVX-512, MNN is.
    """
    from cpchub.encoders.fast.mnn_engine import MNN_WEIGHTS, Mnn
    from cpchub.encoders.fast.openvino_engine import OpenVino

    wide = processor.cpu_has_bfloat16() or processor.cpu_has_avx512()
    if OpenVino.is_installed() and wide:
        return OpenVino()
    if Mnn.is_installed() and not processor.cpu_has_bfloat16() and convolves and weights * lanes <= MNN_WEIGHTS:
        return Mnn()
    return OpenVino() if OpenVino.is_installed() else None

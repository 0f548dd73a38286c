"""MNN: a network as MNN's own file (a FlatBuffer), made of an ONNX file.

MNN computes 3 x 3 convolutions by Winograd's algorithm (Lavin and Gray, arXiv:1509.09308), with less than half of the
multiplications. It computes in float32.
"""

from __future__ import annotations

import ctypes
import os
import queue
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cpchub.encoders.fast.engines import STEP, Run, Setting
from cpchub.encoders.fast.squares import Squares

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "network.mnn"
MNN_WEIGHTS = 2**30  # bytes of weights in all lanes: each holds its own, and rearranged once more

# A child process runs this script. It does not call MNN's command `mnnconvert`, which reports its use to MNN's maker
# and installs a package to do so. A network that MNN cannot run may end the process, so the script also runs the
# converted network once, on two images.
CONVERT = """
import sys, _tools
size = sys.argv.pop()
_tools.mnnconvert(sys.argv)
import MNN
network = MNN.Interpreter(sys.argv[-1])
session = network.createSession({})
images = network.getSessionInput(session)
network.resizeTensor(images, (2, *map(int, size.split(","))))
network.resizeSession(session)
sys.exit(network.runSession(session))
"""


class Mnn:
    """The engine `MNN`. batch: how many images MNN runs at once.

    Fewer images are filled up to this number, so every batch is computed as the first was.
    """

    name = "MNN"
    packages: tuple[str, ...] = ("MNN", "onnx")
    worth = 8_000_000  # 160 images of 224 x 224: two to three seconds with ResNet-18 and -50

    def __init__(self, batch: int = STEP) -> None:
        self._batch = batch

    @staticmethod
    def is_installed() -> bool:
        """Whether MNN and ONNX are. MNN reads a network from an ONNX file."""
        return find_spec("MNN") is not None and find_spec("onnx") is not None

    def convert(self, network: nn.Module, x: Tensor, folder: Path) -> None:
        # torch prints the graphs that it cannot export to ONNX.
        with _no_standard_output(), tempfile.TemporaryDirectory(prefix="cpchub-") as scratch:
            _convert(network, x[:1], Path(scratch), folder / FILE)

    def opened(self, folder: Path, setting: Setting) -> Run:
        shape = (self._batch, *setting.shape)
        idle_sessions: queue.SimpleQueue[Run] = queue.SimpleQueue()
        with _no_standard_output():  # MNN prints a line about the processor
            import MNN

            for _ in range(setting.lanes):
                idle_sessions.put(_session(MNN, folder / FILE, shape))

        def run(batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
            session = idle_sessions.get()
            try:
                x = batch if setting.squares is None else _normalised(batch, setting.squares)
                parts = [session(x[start : start + self._batch]) for start in range(0, len(x), self._batch)]
                return np.concatenate(parts)
            finally:
                idle_sessions.put(session)

        return run


def _normalised(pixels: npt.NDArray[np.uint8], squares: Squares) -> npt.NDArray[np.float32]:
    """uint8 `[B, H, W, C]` to float32 `[B, C, H, W]`."""
    mean, std = (255 * np.array(each, np.float32)[:, None, None] for each in (squares.mean, squares.std))
    return (pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C") - mean) / std


def _convert(network: nn.Module, x: Tensor, scratch: Path, target: Path) -> None:
    """Write the network to an MNN file, for any number of images of the size of `x`."""
    import torch

    source = scratch / "network.onnx"
    with warnings.catch_warnings():
        # Tracing warns of timm's shape checks. torch also warns that dynamo=False, its older exporter, is deprecated.
        # The newer one takes seven times as long and needs more packages.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (x,), source, dynamo=False, input_names=["images"], dynamic_axes={"images": {0: "batch"}}
        )
    size = ",".join(map(str, x.shape[1:]))
    arguments = ["-f", "ONNX", "--bizCode", "cpchub", "--modelFile", str(source), "--MNNModel", str(target), size]
    done = subprocess.run([sys.executable, "-c", CONVERT, *arguments], cwd=scratch, capture_output=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise RuntimeError(f"MNN cannot convert the network: {said.splitlines()[-1] if said else done.returncode}")


def _session(mnn: Any, model_file: Path, shape: tuple[int, ...]) -> Run:
    """A function that runs up to `shape[0]` images on one core. Only one thread at a time may call it."""
    try:
        interpreter = mnn.Interpreter(str(model_file))  # one per session, as it cannot run two at the same time
    except Exception as error:  # MNN raises plain Exception
        raise RuntimeError(str(error)) from error
    # On a CPU, "normal" and "high" both mean float32, but "high" prints a line to the standard output.
    session = interpreter.createSession({"backend": "CPU", "numThread": 1, "precision": "normal"})
    network_input, network_output = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    interpreter.resizeTensor(network_input, shape)
    interpreter.resizeSession(session)
    if tuple(network_output.getShape())[:1] != shape[:1]:
        raise RuntimeError(f"MNN gives an output of shape {network_output.getShape()} for images of shape {shape}")
    host_images, host_vectors = (
        mnn.Tensor(tuple(size), mnn.Halide_Type_Float, mnn.Tensor_DimensionType_Caffe)
        for size in (shape, network_output.getShape())
    )
    # Views of MNN's memory: writing to `pixels` changes `host_images`.
    pixels, vectors = host_images.getNumpyData(), host_vectors.getNumpyData()
    pixels[:] = 0

    def run(x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        if x.shape[1:] != shape[1:]:
            raise ValueError(f"the images have shape {list(x.shape[1:])}, but the first ones had {list(shape[1:])}")
        pixels[: len(x)] = x
        network_input.copyFrom(host_images)
        error_code = interpreter.runSession(session)
        if error_code:
            raise RuntimeError(f"MNN's runSession failed with error code {error_code}")
        network_output.copyToHostTensor(host_vectors)
        return np.array(vectors[: len(x)])  # a copy: the next batch overwrites the view

    return run


@contextmanager
def _no_standard_output() -> Iterator[None]:
    """Drop what is written to file descriptor 1. `redirect_stdout` would not reach the output of C and C++."""
    c = ctypes.CDLL(None)
    c.fflush(None)  # what was printed before is kept
    saved = os.dup(1)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        c.fflush(None)  # drop C's buffer while the descriptor still leads nowhere
        os.dup2(saved, 1)
        os.close(saved)

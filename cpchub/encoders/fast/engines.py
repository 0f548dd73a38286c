"""Inference engines for long embedding jobs on a CPU: MNN and OpenVINO, each as a function from batches to vectors.

Both compute in float32 what torch computes, MNN its 3 x 3 convolutions by Winograd's algorithm (Lavin and Gray,
arXiv:1509.09308), in less than half of the multiplications.
"""

from __future__ import annotations

import ctypes
import os
import queue
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

BatchFunction: TypeAlias = Callable[[Tensor], Tensor]  # `[B, C, H, W]` float32, normalised -> `[B, D]`

# Not MNN's command `mnnconvert`: that one reports its use to MNN's maker, and installs a package to do so. A network
# that MNN cannot run may end the process, so what was converted is tried here as well, on no more than two images.
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


def has_mnn() -> bool:
    """Whether MNN is installed, and ONNX, by way of which a network gets there."""
    return find_spec("MNN") is not None and find_spec("onnx") is not None


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def in_mnn(network: nn.Module, x: Tensor, *, lanes: int, batch: int) -> BatchFunction:
    """The network run by MNN, from as many threads at once as `lanes`, each on a core of its own.

    x: images of the size that all have, `[B, C, H, W]`. batch: images that run at once; fewer are filled up to as
    many, so that every batch is computed as the first was. Raises RuntimeError where MNN cannot run the network.
    """
    shape = (batch, *x.shape[1:])
    idle: queue.SimpleQueue[Callable[[Tensor], Tensor]] = queue.SimpleQueue()
    # MNN writes a line about the processor to the standard output, torch the graphs that it cannot express as ONNX.
    with _no_standard_output(), tempfile.TemporaryDirectory(prefix="cpchub-") as scratch:
        import MNN

        converted = _converted(network, x[:1], Path(scratch))
        for _ in range(lanes):
            idle.put(_session(MNN, converted, shape))

    def run(x: Tensor) -> Tensor:
        session = idle.get()
        try:
            return torch.cat([session(part) for part in x.split(batch)])
        finally:
            idle.put(session)

    return run


def _converted(network: nn.Module, x: Tensor, folder: Path) -> Path:
    """The network as a file of MNN's in `folder`, for any number of images of the size of `x`."""
    source, target = folder / "network.onnx", folder / "network.mnn"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, about checks of shapes in timm; and see below
        # torch's older exporter, which it warns of: the newer takes seven times as long, and more packages.
        torch.onnx.export(
            network, (x,), source, dynamo=False, input_names=["images"], dynamic_axes={"images": {0: "batch"}}
        )
    size = ",".join(map(str, x.shape[1:]))
    arguments = ["-f", "ONNX", "--bizCode", "cpchub", "--modelFile", str(source), "--MNNModel", str(target), size]
    # In a process of its own, which prints much.
    done = subprocess.run([sys.executable, "-c", CONVERT, *arguments], cwd=folder, capture_output=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise RuntimeError(f"MNN cannot convert it: {said.splitlines()[-1] if said else done.returncode}")
    return target


def _session(mnn: Any, converted: Path, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """What runs up to `shape[0]` images on one core. It takes one batch at a time."""
    try:
        interpreter = mnn.Interpreter(str(converted))  # one a session: an interpreter runs one session at a time
    except Exception as error:  # that is the type which MNN raises
        raise RuntimeError(str(error)) from error
    # On a CPU "normal" is float32, as "high" is, which would be announced on the standard output.
    session = interpreter.createSession({"backend": "CPU", "numThread": 1, "precision": "normal"})
    to_network, from_network = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    interpreter.resizeTensor(to_network, shape)
    interpreter.resizeSession(session)
    if tuple(from_network.getShape())[:1] != shape[:1]:
        raise RuntimeError(f"MNN gives {from_network.getShape()} for {shape}")
    images, vectors = (
        mnn.Tensor(tuple(size), mnn.Halide_Type_Float, mnn.Tensor_DimensionType_Caffe)
        for size in (shape, from_network.getShape())
    )
    pixels, found = images.getNumpyData(), vectors.getNumpyData()  # views of what MNN holds
    pixels[:] = 0

    def run(x: Tensor) -> Tensor:
        if x.shape[1:] != shape[1:]:
            raise ValueError(f"images of {list(x.shape[1:])} after the first ones of {list(shape[1:])}")
        pixels[: len(x)] = x.numpy()
        to_network.copyFrom(images)
        failed = interpreter.runSession(session)
        if failed:
            raise RuntimeError(f"MNN's runSession gave {failed}")
        from_network.copyToHostTensor(vectors)
        return torch.from_numpy(np.array(found[: len(x)]))

    return run


@contextmanager
def _no_standard_output() -> Iterator[None]:
    """Drop what is written to file descriptor 1, by C and C++ too."""
    c = ctypes.CDLL(None)
    c.fflush(None)
    saved = os.dup(1)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        c.fflush(None)  # C's own buffer, before the descriptor is what it was
        os.dup2(saved, 1)
        os.close(saved)


def in_openvino(network: nn.Module, x: Tensor, *, lanes: int, threads: int, bfloat16: bool) -> BatchFunction:
    """The network compiled by OpenVINO for any batch size, for as many threads at once as `lanes`."""
    import openvino

    shape = openvino.PartialShape([-1, *x.shape[1:]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, about checks of shapes in timm
        converted = openvino.convert_model(network, example_input=x.contiguous(), input=[shape])
    precision = "bf16" if bfloat16 else "f32"
    settings = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": lanes, "INFERENCE_NUM_THREADS": lanes * threads}
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    requests = threading.local()  # one a lane: a request works on one batch at a time

    def run(x: Tensor) -> Tensor:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        output = requests.own.infer({0: x.contiguous().numpy()})[0]
        return torch.from_numpy(np.array(output))

    return run

"""Inference engines for long embedding jobs on a CPU: MNN and OpenVINO.

Each takes a torch network and returns a function from a batch of images to their vectors. Both compute in float32, as
torch does; OpenVINO computes in bfloat16 if asked to. MNN computes 3 x 3 convolutions by Winograd's algorithm (Lavin
and Gray, arXiv:1509.09308), with less than half of the multiplications.

A lane is a thread that calls the function. `lanes` is how many threads may call it at the same time.
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


def has_mnn() -> bool:
    """Whether MNN and ONNX are installed. MNN reads a network from an ONNX file."""
    return find_spec("MNN") is not None and find_spec("onnx") is not None


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def in_mnn(network: nn.Module, x: Tensor, *, lanes: int, batch: int) -> BatchFunction:
    """A function that runs the network with MNN, each lane on one core.

    x: example images `[B, C, H, W]`; all later images have the same C, H and W. batch: how many images MNN runs at
    once. Fewer images are filled up to this number, so every batch is computed as the first was.

    Raises RuntimeError if MNN cannot run the network.
    """
    shape = (batch, *x.shape[1:])
    idle_sessions: queue.SimpleQueue[BatchFunction] = queue.SimpleQueue()
    # MNN prints a line about the processor; torch prints the graphs that it cannot export to ONNX.
    with _no_standard_output(), tempfile.TemporaryDirectory(prefix="cpchub-") as scratch:
        import MNN

        model_file = _convert_to_mnn(network, x[:1], Path(scratch))
        for _ in range(lanes):
            idle_sessions.put(_session(MNN, model_file, shape))

    def run(x: Tensor) -> Tensor:
        session = idle_sessions.get()
        try:
            return torch.cat([session(part) for part in x.split(batch)])
        finally:
            idle_sessions.put(session)

    return run


def _convert_to_mnn(network: nn.Module, x: Tensor, folder: Path) -> Path:
    """Write the network to an MNN file in `folder`, for any number of images of the size of `x`. Returns its path."""
    source, target = folder / "network.onnx", folder / "network.mnn"
    with warnings.catch_warnings():
        # Tracing warns of timm's shape checks. torch also warns that dynamo=False, its older exporter, is deprecated.
        # The newer one takes seven times as long and needs more packages.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (x,), source, dynamo=False, input_names=["images"], dynamic_axes={"images": {0: "batch"}}
        )
    size = ",".join(map(str, x.shape[1:]))
    arguments = ["-f", "ONNX", "--bizCode", "cpchub", "--modelFile", str(source), "--MNNModel", str(target), size]
    done = subprocess.run([sys.executable, "-c", CONVERT, *arguments], cwd=folder, capture_output=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise RuntimeError(f"MNN cannot convert the network: {said.splitlines()[-1] if said else done.returncode}")
    return target


def _session(mnn: Any, model_file: Path, shape: tuple[int, ...]) -> BatchFunction:
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

    def run(x: Tensor) -> Tensor:
        if x.shape[1:] != shape[1:]:
            raise ValueError(f"the images have shape {list(x.shape[1:])}, but the first ones had {list(shape[1:])}")
        pixels[: len(x)] = x.numpy()
        network_input.copyFrom(host_images)
        error_code = interpreter.runSession(session)
        if error_code:
            raise RuntimeError(f"MNN's runSession failed with error code {error_code}")
        network_output.copyToHostTensor(host_vectors)
        return torch.from_numpy(np.array(vectors[: len(x)]))  # a copy: the next batch overwrites the view

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


def in_openvino(network: nn.Module, x: Tensor, *, lanes: int, threads: int, bfloat16: bool) -> BatchFunction:
    """A function that runs the network with OpenVINO, `threads` threads for each lane.

    x: example images `[B, C, H, W]`; all later images have the same C, H and W, in batches of any size.
    """
    import openvino

    shape = openvino.PartialShape([-1, *x.shape[1:]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of timm's shape checks
        converted = openvino.convert_model(network, example_input=x.contiguous(), input=[shape])
    precision = "bf16" if bfloat16 else "f32"
    settings = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": lanes, "INFERENCE_NUM_THREADS": lanes * threads}
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    requests = threading.local()  # one request per lane, as it cannot run two batches at the same time

    def run(x: Tensor) -> Tensor:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        output = requests.own.infer({0: x.contiguous().numpy()})[0]
        return torch.from_numpy(np.array(output))

    return run

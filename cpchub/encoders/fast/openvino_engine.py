"""OpenVINO: a network as OpenVINO's own file (IR), which is XML for the graph and plain bytes for the weights."""

from __future__ import annotations

import sys
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cpchub.encoders.fast.engines import Run, Setting
from cpchub.encoders.fast.squares import Squares

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "network.xml"  # beside it lies network.bin


class OpenVino:
    """The engine `OpenVINO`."""

    name = "OpenVINO"
    packages: tuple[str, ...] = ("openvino",)
    worth = 4_000_000  # 80 images of 224 x 224, or 1,000 of 64 x 64: half a second to a second with ResNet-18 and -50

    @staticmethod
    def is_installed() -> bool:
        return find_spec("openvino") is not None

    def convert(self, network: nn.Module, x: Tensor, folder: Path) -> None:
        import torch

        openvino = import_openvino()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        # Not `openvino.convert_model`: it traces twice, and takes three times as long.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracing warns of timm's shape checks, and that it is deprecated
            traced = torch.jit.trace(network, x[:1].contiguous(), check_trace=False)
            frontend = FrontEndManager().load_by_framework("pytorch")
            decoder = TorchScriptPythonDecoder(traced)  # has a name, as the frontend does not keep it alive
            converted = frontend.convert(frontend.load(decoder))
        converted.reshape(openvino.PartialShape([-1, *x.shape[1:]]))
        openvino.save_model(converted, folder / FILE, compress_to_fp16=False)

    def opened(self, folder: Path, setting: Setting) -> Run:
        openvino = import_openvino()
        core = openvino.Core()
        network = core.read_model(folder / FILE)
        if setting.squares is not None:
            network = _with_pixels(openvino, network, setting.squares)
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if setting.bfloat16 else "f32",
            "NUM_STREAMS": setting.lanes,
            "INFERENCE_NUM_THREADS": setting.lanes * setting.threads,
            "ENABLE_CPU_PINNING": False,  # two processes would pin their threads to the same cores
        }
        compiled = core.compile_model(network, "CPU", settings)
        requests = threading.local()  # one request per lane, as it cannot run two batches at the same time

        def run(batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
            if not hasattr(requests, "own"):
                requests.own = compiled.create_infer_request()
            found = requests.own.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)[0]
            return np.array(found, dtype=np.float32)  # a copy: the next batch overwrites it

        return run


def _with_pixels(openvino: Any, network: Any, squares: Squares) -> Any:
    """The network with the normalisation before it, so that it takes pixels, uint8 `[B, H, W, C]`."""
    from openvino.preprocess import PrePostProcessor

    processing = PrePostProcessor(network)
    images = processing.input()
    images.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    images.model().set_layout(openvino.Layout("NCHW"))
    steps = images.preprocess().convert_element_type(openvino.Type.f32)
    steps.mean([255 * value for value in squares.mean]).scale([255 * value for value in squares.std])
    return processing.build()


def import_openvino() -> Any:
    """The module `openvino`, without the part of it that reports its use to its maker as soon as it is imported."""
    if "openvino" not in sys.modules:
        # OpenVINO goes on without this module where it cannot be imported; None makes its import fail.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino

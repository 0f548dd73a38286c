"""`export`: an encoder as a file for other runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cpchub.cli.base import Command, Out, Switch, say
from cpchub.errors import ArgumentError


@dataclass(frozen=True)
class Export(Command):
    """Write an encoder's network as ONNX (FILE.onnx) or as torch's exported program (FILE.pt2), and check it."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """catalog name, model folder, Hub id or timm/NAME"""
    out: Annotated[Path, Out]
    """file to write; its suffix is the format"""
    opset: int = 18
    """version of ONNX's operators"""
    dynamic_size: Switch = False
    """let height and width vary, not only the batch"""

    def run(self) -> None:
        if self.out.suffix not in (".onnx", ".pt2"):
            raise ArgumentError(f"{self.out} ends with neither .onnx nor .pt2, which name the format")
        from cpchub.encoders.load import load
        from cpchub.encoders.onnx_export import export_onnx, export_program

        encoder = load(self.name, device="cpu", dtype="float32")
        if self.out.suffix == ".onnx":
            result = export_onnx(encoder, self.out, opset=self.opset, dynamic_size=self.dynamic_size)
        else:
            result = export_program(encoder, self.out, dynamic_size=self.dynamic_size)
        print(result.path)
        inputs, outputs = ", ".join(map(str, result.inputs)), ", ".join(result.outputs)
        runtime = "onnxruntime" if self.out.suffix == ".onnx" else "the program"
        say(f"images [{inputs}] to {outputs}; {runtime} differs from torch by at most {result.difference:.1e}")

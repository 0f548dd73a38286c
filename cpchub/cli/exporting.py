"""The command `export`: an encoder or a collection, written for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from cpchub.cli.base import Command, Out, Switch, check_out, say
from cpchub.common.extras import need
from cpchub.errors import ArgumentError

FILES = (".onnx", ".pt2")


@dataclass(frozen=True)
class Export(Command):
    """Write an encoder for programs without Python (ONNX, torch's exported program), or a collection for another engine
    (numpy, Milvus, Lance)."""

    name: Annotated[Positional[str], arg(metavar="ENCODER|COLLECTION")]
    """catalog name, run folder, model folder, Hub id or timm/NAME; or a folder that `cpchub index` wrote"""
    out: Annotated[str, Out]
    """for an encoder FILE.onnx or FILE.pt2; for a collection the folder to write, with --uri its name in that Milvus"""
    opset: int = 18
    """for ONNX: version of its operators"""
    dynamic_size: Switch = False
    """for an encoder: let height and width vary, not only the batch"""
    to: Literal["numpy", "milvus", "lance"] | None = None
    """for a collection: which engine"""
    uri: str | None = None
    """for a collection: insert into this Milvus: a .db file (Milvus Lite) or the address of a server"""

    def run(self) -> None:
        from cpchub.collection.manifest import MANIFEST

        if self.to is not None or (Path(self.name) / MANIFEST).is_file():
            self._collection()
        else:
            self._encoder()

    def _collection(self) -> None:
        from cpchub.collection.collection import Collection
        from cpchub.collection.export_vectors import export_vectors

        collection = Collection.open(self.name)
        if self.to is None:
            raise ArgumentError(f"{self.name} is a collection; say what to write it for: --to numpy, milvus or lance")
        if self.dynamic_size or self.opset != Export.opset:
            raise ArgumentError(f"--opset and --dynamic-size are for an encoder, and {self.name} is a collection")
        count = export_vectors(collection, self.out, self.to, uri=self.uri)
        say(f"{count:,} vectors for {self.to}: {self.out}" + (f" in {self.uri}" if self.uri else ""))

    def _encoder(self) -> None:
        out = Path(self.out)
        if self.uri is not None:
            raise ArgumentError(f"--uri is for a collection, and {self.name} is none")
        if out.suffix not in FILES:
            raise ArgumentError(
                f"{out} ends with neither .onnx nor .pt2, which name an encoder's format; for a collection add --to"
            )
        from cpchub.hub.places import check_name

        check_out(out)
        check_name(self.name)
        if out.suffix == ".onnx":
            need("onnx", "onnxscript", "onnxruntime", extra="export")
        from cpchub.encoders.load import load
        from cpchub.encoders.onnx_export import export_onnx, export_program

        encoder = load(self.name, device="cpu", dtype="float32")
        if out.suffix == ".onnx":
            result = export_onnx(encoder, out, opset=self.opset, dynamic_size=self.dynamic_size)
        else:
            result = export_program(encoder, out, dynamic_size=self.dynamic_size)
        print(result.path)
        inputs, outputs = ", ".join(map(str, result.inputs)), ", ".join(result.outputs)
        runtime = "onnxruntime" if out.suffix == ".onnx" else "the program"
        say(f"images [{inputs}] to {outputs}; {runtime} differs from torch by at most {result.difference:.1e}")

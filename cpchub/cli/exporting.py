"""The command `export`: an encoder or a collection, written for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from cpchub.cli.base import Command, Out, Switch, check_out, say
from cpchub.common.extras import need
from cpchub.errors import ArgumentError

if TYPE_CHECKING:
    from cpchub.encoders.onnx_export import Exported

FILES = (".onnx", ".pt2")


@dataclass(frozen=True)
class Export(Command):
    """Write an encoder for programs without Python (ONNX, torch's exported program), alone or with a classifier, or a
    collection for another engine (numpy, Milvus, Lance)."""

    name: Annotated[Positional[str | None], arg(metavar="ENCODER|COLLECTION")] = None
    """catalog name, run folder, model folder, Hub id or timm/NAME; or a folder that `cpchub index` wrote; with --head
    the encoder of the classifier without it"""
    out: Annotated[str | None, Out] = None
    """for an encoder FILE.onnx or FILE.pt2; for a collection the folder to write, with --uri its name in that Milvus"""
    head: Annotated[str | None, arg(metavar="HEAD")] = None
    """a classifier that `cpchub classify --save` wrote: the file gives class probabilities"""
    opset: int | None = None
    """for ONNX: version of its operators, by default 18"""
    dynamic_size: Switch = False
    """for an encoder: let height and width vary, not only the batch"""
    to: Literal["numpy", "milvus", "lance"] | None = None
    """for a collection: which engine"""
    uri: str | None = None
    """for a collection: insert into this Milvus: a .db file (Milvus Lite) or the address of a server"""

    def run(self) -> None:
        from cpchub.collection.manifest import MANIFEST

        if self.out is None or (self.name is None and self.head is None):
            raise ArgumentError("cpchub export needs an encoder, a collection or --head HEAD, and -o OUT")
        if self.name is not None and (self.to is not None or (Path(self.name) / MANIFEST).is_file()):
            self._collection(self.name, self.out)
        else:
            self._encoder(Path(self.out))

    def _collection(self, name: str, out: str) -> None:
        from cpchub.collection.collection import Collection
        from cpchub.collection.export_vectors import export_vectors

        collection = Collection.open(name)
        if self.to is None:
            raise ArgumentError(f"{name} is a collection; say what to write it for: --to numpy, milvus or lance")
        if self.head is not None or self.dynamic_size or self.opset is not None:
            raise ArgumentError(f"--head, --opset and --dynamic-size are for an encoder, and {name} is a collection")
        count = export_vectors(collection, out, self.to, uri=self.uri)
        say(f"{count:,} vectors for {self.to}: {out}" + (f" in {self.uri}" if self.uri else ""))

    def _encoder(self, out: Path) -> None:
        for flag, given in (("--to", self.to), ("--uri", self.uri)):
            if given is not None:
                raise ArgumentError(f"{flag} is for a collection, and {self.name or self.head} is none")
        if out.suffix not in FILES:
            raise ArgumentError(
                f"{out} ends with neither .onnx nor .pt2, which name an encoder's format; for a collection add --to"
            )
        if out.suffix == ".pt2" and self.opset is not None:
            raise ArgumentError(f"--opset is for ONNX, and {out} is torch's exported program; leave it out")
        from cpchub.hub.places import check_name

        check_out(out)
        if self.name is not None:
            check_name(self.name)
        if out.suffix == ".onnx":
            need("onnx", "onnxscript", "onnxruntime", extra="export")
        result = self._written(out)
        print(result.path)
        inputs, outputs = ", ".join(map(str, result.inputs)), ", ".join(result.outputs)
        runtime = "onnxruntime" if out.suffix == ".onnx" else "the program"
        say(f"images [{inputs}] to {outputs}; {runtime} differs from torch by at most {result.difference:.1e}")

    def _written(self, out: Path) -> Exported:
        from cpchub.encoders.load import load
        from cpchub.encoders.onnx_export import OPSET, Exportable, write_onnx, write_program

        if self.head is None:
            what = Exportable.of(load(self.name or "", device="cpu", dtype="float32"))
        else:
            from cpchub.fewlabels.heads.export import with_head
            from cpchub.fewlabels.heads.head import load_classifier

            head = load_classifier(self.head)
            what = with_head(load(self.name or head.encoder_to_load, device="cpu", dtype="float32"), head)
        if out.suffix == ".onnx":
            return write_onnx(what, out, opset=self.opset or OPSET, dynamic_size=self.dynamic_size)
        return write_program(what, out, dynamic_size=self.dynamic_size)

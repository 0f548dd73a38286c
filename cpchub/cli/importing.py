"""The command `import`: a checkpoint that other code has trained becomes a model folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cpchub.cli.base import Command, Out, Switch, say
from cpchub.errors import ArgumentError


@dataclass(frozen=True)
class Import(Command):
    """Import a checkpoint of other people's code, without executing it, as a model folder."""

    checkpoint: Annotated[Positional[Path | None], arg(metavar="CKPT")] = None
    """file of torch.save (.pth, .pt, .ckpt, .tar), safetensors, or a TensorFlow checkpoint"""
    out: Annotated[Path | None, Out] = None
    """model folder to write"""
    as_: Annotated[str | None, arg(name="as", metavar="FORMAT")] = None
    """format of the checkpoint; recognised without it (--formats lists them)"""
    name: Annotated[str | None, arg(metavar="NAME")] = None
    """name of the encoder; without it, the folder's"""
    license: Annotated[str | None, arg(metavar="LICENSE")] = None
    """licence of the weights, for the card, for example mit"""
    data: Annotated[str | None, arg(metavar="TEXT")] = None
    """what it was trained on, for the card, for example CIFAR-10"""
    method: Annotated[str | None, arg(metavar="METHOD")] = None
    """how it was trained, for the card, for example simclr"""
    architecture: Annotated[str | None, arg(metavar="NETWORK")] = None
    """timm's name of the network, where the file does not tell; elsewhere it is checked"""
    patch_size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """side of the patches that it reads, where the file does not tell; elsewhere it is checked"""
    stem_padding: Annotated[int | None, arg(metavar="PIXELS")] = None
    """padding of a 3x3 stem, where the format does not tell; elsewhere it is checked"""
    tensors: Switch = False
    """list every tensor, used and dropped"""
    formats: Switch = False
    """list the formats and end"""

    def run(self) -> None:
        from cpchub.cli import import_report

        if self.formats:
            print("\n".join(import_report.formats()))
            return
        if self.checkpoint is None or self.out is None:
            raise ArgumentError("cpchub import needs a checkpoint and -o FOLDER (or --formats)")
        from cpchub.importers.convert import convert

        imported = convert(
            self.checkpoint,
            self.out,
            as_=self.as_,
            name=self.name,
            license=self.license,
            data=self.data,
            method=self.method,
            architecture=self.architecture,
            patch_size=self.patch_size,
            stem_padding=self.stem_padding,
        )
        print("\n".join(import_report.account(imported, every_tensor=self.tensors)))
        if imported.license == "unknown":
            say("Its licence is not known: say it with --license, before you publish it.")
        bare = len(imported.folder.parts) == 1  # could be the name of an encoder, which goes before a folder's
        say(f'Load it: cpchub.load("{"./" if bare else ""}{imported.folder}")')

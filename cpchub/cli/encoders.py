"""Commands about encoders as such: `models`, `show`, `fetch`, `import`, `verify`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from cpchub.catalog.spec import check_model_folder
from cpchub.cli.base import Command, Out, Switch, say
from cpchub.errors import ArgumentError, ImportFormatError, IntegrityError

if TYPE_CHECKING:
    from cpchub.importers.convert import Imported


@dataclass(frozen=True)
class Models(Command):
    """List the encoders of the catalog."""

    pattern: Annotated[Positional[str], arg(metavar="PATTERN")] = "*"
    """wildcard, for example "*moco*" (in quotes)"""
    method: Annotated[str | None, arg(metavar="NAME")] = None
    """only of this method or family, for example moco-v2 or moco"""
    bundled: Switch = False
    """only those whose weights ship with the package"""
    dim: Annotated[int | None, arg(metavar="D")] = None
    """only with vectors of this length"""
    status: Literal["bundled", "hub", "public", "recipe"] | None = None
    """only of this status"""
    license: Annotated[str | None, arg(metavar="LICENSE")] = None
    """only with weights under this licence: mit, "cc-by-*" (in quotes), or commercial for those that forbid no use"""
    offline: Switch = False
    """only those whose weights can be had without a network"""

    def run(self) -> None:
        from cpchub.catalog.listing import list_specs
        from cpchub.catalog.weights import where_the_weights_are
        from cpchub.cli import tables

        found = list_specs(
            self.pattern,
            method=self.method,
            bundled=self.bundled or None,
            dim=self.dim,
            status=self.status,
            license=self.license,
            offline=self.offline,
        )
        if not found:
            offer = "" if "*" in self.pattern else f"; for a part of a name: cpchub models '*{self.pattern}*'"
            say(f"no encoder matches {self.pattern!r} and the options{offer}")
        tables.models(found)
        if any(where_the_weights_are(spec, host=False) == "to be fetched" for spec in found):
            say("Where no size is given, the authors of the weights have stated none.")


@dataclass(frozen=True)
class Show(Command):
    """Show the card of an encoder."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """catalog name, run folder, model folder or Hub id"""

    def run(self) -> None:
        from cpchub.cli import tables
        from cpchub.hub.locate import locate

        tables.card(locate(self.name, weights=False))


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
        if self.formats:
            print("\n".join(format_lines()))
            return
        if self.checkpoint is None or self.out is None:
            raise ArgumentError("cpchub import needs a checkpoint and -o FOLDER (or --formats)")
        if not any(self.checkpoint.parent.glob(f"{escape(self.checkpoint.name)}*")):  # TensorFlow's is a beginning
            raise ImportFormatError(f"there is no file {self.checkpoint}; name a checkpoint")
        from cpchub.importers.format_names import check_format

        if self.as_ is not None:
            check_format(self.as_)
        check_model_folder(self.out)
        from cpchub.importers.convert import import_checkpoint

        imported = import_checkpoint(
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
        print("\n".join(import_lines(imported, every_tensor=self.tensors)))
        if imported.license == "unknown":
            say("Its licence is not known: say it with --license, before you publish it.")
        bare = len(imported.folder.parts) == 1  # could be the name of an encoder, which goes before a folder's
        say(f'Load it: cpchub.load("{"./" if bare else ""}{imported.folder}")')


@dataclass(frozen=True)
class Fetch(Command):
    """Fetch encoders ahead of time, for a machine without a network; prints the folder of each."""

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME")]
    """catalog names or Hub ids"""
    keep: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """also keep the authors' files, in this folder"""

    def run(self) -> None:
        from cpchub.hub.fetch import fetch

        if not self.names:
            raise ArgumentError("name the encoders to fetch; `cpchub models --status public` lists those of others")
        for name in self.names:
            print(fetch(name, keep=self.keep))


@dataclass(frozen=True)
class Verify(Command):
    """Read the files of an encoder again and hold each to its record; status 2 where one is changed or missing."""

    name: Annotated[Positional[str | None], arg(metavar="NAME")] = None
    """catalog name, run folder, model folder or Hub id"""
    all: Switch = False
    """every encoder of the catalog that is on this machine"""

    def run(self) -> None:
        from cpchub.cli import tables
        from cpchub.hub.verify import DAMAGE, verify_all, verify_files

        if (self.name is None) != self.all:
            raise ArgumentError("give the name of one encoder, or --all")
        found = verify_all() if self.name is None else verify_files(self.name)
        tables.checks(found)
        if damaged := [check for check in found if check.state in DAMAGE]:
            raise IntegrityError(
                f"{len(damaged)} of {len(found)} files are changed or missing: "
                f"{', '.join(str(check.path) for check in damaged)}. Delete what is left of them and fetch them again; "
                "for an encoder that ships with cpchub, install it again"
            )
        for sentence in tables.sound(found):
            say(sentence)


def format_lines() -> Iterator[str]:
    """A line a format: its name for `--as`, and whose code writes it."""
    from cpchub.importers.formats.registry import FORMATS

    width = max(len(each.name) for each in FORMATS)
    for each in FORMATS:
        yield f"{each.name:<{width}}  {each.title}"


def import_lines(imported: Imported, every_tensor: bool = False) -> Iterator[str]:
    """The format and the network; what was used, then what was dropped: a line a reason, or `every_tensor`."""
    yield f"{imported.title}: {imported.architecture}"
    yield from (f"note     {note}" for note in imported.notes)
    if every_tensor:
        yield from (f"used     {name} -> {new}" for name, new in imported.used.items())
        yield from (f"dropped  {name}: {reason}" for name, reason in imported.dropped.items())
        return
    yield f"used     {_shared(imported.used)}"
    for reason in dict.fromkeys(imported.dropped.values()):
        names = [name for name, why in imported.dropped.items() if why == reason]
        yield f"dropped  {_shared(names)}: {reason}"


def _shared(names: Iterable[str]) -> str:
    """The names in short: what they begin with, and how many there are."""
    names = list(names)
    if len(names) == 1:
        return names[0]
    first, last = min(names), max(names)  # what these two share, all of them do
    length = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    common = re.sub(r"[^./]*$", "", first[:length])
    return f"{common}* ({len(names)} tensors)"

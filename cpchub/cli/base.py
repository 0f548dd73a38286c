"""What the commands share: the base class, their common arguments, and how they write their answers."""

from __future__ import annotations

import json
import os
import re
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union, get_args, get_origin

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from cpchub.cli import usage
from cpchub.common.files import replacing
from cpchub.common.quiet import remark
from cpchub.errors import ArgumentError, OutputError
from cpchub.media.rules import Rules

if TYPE_CHECKING:
    import pyarrow as pa

Folder = Annotated[Positional[Path], arg(metavar="FOLDER")]
CollectionFolder = Annotated[  # no Path, which would take a slash from s3://
    Positional[str],
    arg(metavar="COLLECTION", help="folder that `cpchub index` wrote, or its place in a bucket (s3://...)"),
]
Out = arg(aliases=["-o"], metavar="PATH")
Switch = Annotated[bool, FlagCreatePairsOff]
Quiet = Annotated[Switch, arg(aliases=["-q"], help="print the answer only: no progress, no remarks, no advice")]
Port = Annotated[int | None, arg(metavar="PORT", help="port of the page; without it, the first free one from 7860 on")]
EncoderName = Annotated[str | None, arg(metavar="NAME")]


@dataclass(frozen=True)
class RuleFlags(Rules):
    """Which files of a source are its images, as flags."""

    exclude: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATTERN")] = ()
    """leave out the files and folders of this name, or of this path below the source; * and ? stand for anything:
    raw, '*.gif', 'trips/2019*'; may be given again"""
    include_system: Switch = False
    """take in the folders of a NAS or an operating system, such as @eaDir, #recycle, $RECYCLE.BIN, __MACOSX"""
    follow_links: Switch = False
    """follow links that lead out of the source too"""


say = remark
Which = Annotated[RuleFlags, arg(name="")]
ALL = RuleFlags()  # where no flag is given
OPTIONS = ConstructorRegistry()  # tyro's rules for parsing arguments, plus ours for `X | None`


@OPTIONS.primitive_rule
def may_be_left_out(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | UnsupportedTypeAnnotationError | None:
    """`X | None` takes an X: None is what an option is without a word, and no word of its own in help and errors."""
    kinds = get_args(info.type)
    if get_origin(info.type) not in (Union, types.UnionType) or len(kinds) != 2 or kinds[1] is not type(None):
        return None
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kinds[0], set(info.markers)))
    if isinstance(spec, UnsupportedTypeAnnotationError):
        return spec
    return replace(
        spec,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["none"] if value is None else spec.str_from_instance(value),
    )


@OPTIONS.primitive_rule
def json_object(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A mapping is one word of JSON: `--backbone-args '{"width": 2}'`."""
    if get_origin(info.type) is not Mapping:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda args: json.loads(args[0]),
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [json.dumps(dict(value))],
    )


@dataclass(frozen=True)
class Command:
    """Base of the commands. quiet: whether to leave out progress and remarks."""

    quiet: Quiet = field(default=False, kw_only=True)

    resumes: ClassVar[bool] = False  # whether the same command goes on after Ctrl-C
    renamed: ClassVar[Mapping[str, str]] = {}  # its flags by older names -> today's; "" for a word without a flag
    shared: ClassVar[bool] = False  # whether the processes that torchrun starts can share its work

    @classmethod
    def command_name(cls) -> str:
        """What it is called on the command line: Search is `search`, LabelErrors `label-errors`, IndexCommand `index`.

        A command whose name is that of a class in the library has `Command` at its end.
        """
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__.removesuffix("Command")).lower()

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        """The command with its flags taken from `args`. Raises ArgumentError where they do not fit."""
        config = (tyro.conf.HelptextFromCommentsOff,)
        return cls.read(cls, f"cpchub {cls.command_name()}", args, config=config, registry=OPTIONS)

    @classmethod
    def read(cls, kind: Any, prog: str, args: Sequence[str], **options: Any) -> Any:
        """A `kind` with its values taken from `args`, in today's words or in older ones."""
        return usage.parse(kind, prog=prog, args=usage.todays_words(args, cls.renamed, say), **options)

    @classmethod
    def check_alone(cls) -> None:
        """Raise ArgumentError under `torchrun` where its processes would do the same work, into the same files."""
        if not cls.shared and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ:
            raise ArgumentError(
                f"`cpchub {cls.command_name()}` is work of one process, not of {os.environ['WORLD_SIZE']}; start it "
                "without torchrun"
            )

    def run(self) -> None:
        """Do the job; raises CpchubError for bad input."""
        raise AssertionError(f"{type(self).__name__} lacks its run()")


def check_out(out: Path | None) -> None:
    """Raise OutputError for a file that has no folder to lie in, before the work whose result it is to hold."""
    if out is None:
        return
    if out.is_dir():
        raise OutputError(f"{out} is a folder; name a file")
    if not out.parent.is_dir():
        raise OutputError(f"there is no folder {out.parent} to write {out.name} into; make it first")


def write_csv(table: pa.Table, out: Path | None) -> None:
    """A table as CSV, to a file or to be piped on."""
    from pyarrow import csv

    if out is None:
        csv.write_csv(table, sys.stdout.buffer)
        return
    with replacing(out) as partial:
        csv.write_csv(table, partial)

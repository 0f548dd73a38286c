"""The commands, each a typed dataclass whose fields are its arguments and flags.

What a command does is a call or two into the package. Modules that take time to import are imported inside `run`, so
that `cpchub --help` is instant; `training` and `serving` are reached only here.
"""

from __future__ import annotations

from cpchub.commands.base import Command
from cpchub.commands.collections import Classify, Demo
from cpchub.commands.detection import Detect
from cpchub.commands.embedding import Embed, Index
from cpchub.commands.encoders import Models, Publish, Show, Verify
from cpchub.commands.evaluation import Compare, Eval, Report
from cpchub.commands.export import Export
from cpchub.commands.importing import Import
from cpchub.commands.searching import Duplicates, ExportIndex, Map, Merge, Outliers, Search
from cpchub.commands.training import Distil, Quickstart, Train

COMMANDS: dict[str, type[Command]] = {
    command.command_name(): command
    for command in (
        Quickstart,
        Train,
        Distil,
        Eval,
        Compare,
        Report,
        Detect,
        Embed,
        Index,
        Search,
        Duplicates,
        Outliers,
        Map,
        Merge,
        ExportIndex,
        Classify,
        Demo,
        Models,
        Show,
        Import,
        Export,
        Publish,
        Verify,
    )
}

"""The commands of `cpchub`, by name."""

from __future__ import annotations

from cpchub.cli.base import Command
from cpchub.cli.collections import Classify, Demo
from cpchub.cli.detection import Detect
from cpchub.cli.embedding import Embed, Index
from cpchub.cli.encoders import Models, Publish, Show, Verify
from cpchub.cli.evaluation import Compare, Eval, Report
from cpchub.cli.export import Export
from cpchub.cli.importing import Import
from cpchub.cli.searching import Duplicates, ExportIndex, Map, Merge, Outliers, Search
from cpchub.cli.training import Distil, Quickstart, Train

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

"""All commands of `cpchub`: name on the command line -> class, in the order in which `cpchub --help` lists them."""

from __future__ import annotations

from cpchub.cli.auditing import Audit
from cpchub.cli.base import Command
from cpchub.cli.caching import Cache
from cpchub.cli.collections import Info
from cpchub.cli.embedding import Embed, IndexCommand
from cpchub.cli.encoders import Fetch, Import, Models, Show, Verify
from cpchub.cli.evaluation import Compare, Detect, Eval, ReportCommand
from cpchub.cli.exporting import Export
from cpchub.cli.labelling import Classify, LabelErrors
from cpchub.cli.next_labels import LabelNext
from cpchub.cli.publishing import Publish
from cpchub.cli.searching import DuplicatesCommand, Map, Merge, Outliers, Search
from cpchub.cli.serving import Demo, Serve, Space
from cpchub.cli.suite import Suite
from cpchub.cli.training import Distil, Quickstart, Train

COMMANDS: dict[str, type[Command]] = {
    command.command_name(): command
    for command in (
        Quickstart,
        Train,
        Suite,
        Distil,
        Eval,
        Compare,
        ReportCommand,
        Detect,
        Embed,
        IndexCommand,
        Info,
        Search,
        DuplicatesCommand,
        Outliers,
        Map,
        Merge,
        Classify,
        LabelErrors,
        Audit,
        LabelNext,
        Demo,
        Serve,
        Space,
        Models,
        Show,
        Fetch,
        Import,
        Export,
        Publish,
        Verify,
        Cache,
    )
}
OLD_COMMANDS = {"export-index": "export"}  # understood for one version

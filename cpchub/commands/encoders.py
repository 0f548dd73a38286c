"""Commands about encoders as such: `models`, `show`, `publish`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from cpchub.commands.base import Command, Folder, Switch, say


@dataclass(frozen=True)
class Models(Command):
    """List the encoders of the catalog."""

    pattern: Annotated[Positional[str], arg(metavar="PATTERN")] = "*"
    """wildcard, for example "*moco*" (in quotes)"""

    def run(self) -> None:
        from cpchub import report
        from cpchub.catalog import get_spec, list_models

        report.models([get_spec(name) for name in list_models(self.pattern)], self.pattern)


@dataclass(frozen=True)
class Show(Command):
    """Show the card of an encoder."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """catalog name, model folder or Hub id"""

    def run(self) -> None:
        from cpchub import report
        from cpchub.hub import locate

        report.card(locate(self.name, weights=False))


@dataclass(frozen=True)
class Publish(Command):
    """Publish a model folder to the Hub (log in with `hf auth login` first), or into a folder that serves as one."""

    folder: Folder
    """model folder, for example runs/RECIPE/export"""
    repo_id: Annotated[Positional[str], arg(metavar="REPO_ID")]
    """org/name, or folder:/path"""
    private: Switch = False
    """create the repository as a private one"""

    def run(self) -> None:
        from cpchub.release import publish

        release = publish(self.folder, self.repo_id, private=self.private)
        print(f"{release.repo_id}@{release.revision}")
        say(f'Load it: cpchub.load("{release.repo_id}")')

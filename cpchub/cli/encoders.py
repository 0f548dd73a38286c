"""Commands about encoders as such: `models`, `show`, `publish`, `verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from cpchub.cli.base import Command, Folder, Switch, say
from cpchub.errors import ArgumentError, IntegrityError


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
    status: Literal["bundled", "hub", "recipe"] | None = None
    """only of this status"""

    def run(self) -> None:
        from cpchub.catalog.listing import get_spec, list_models
        from cpchub.cli import tables

        names = list_models(
            self.pattern, method=self.method, bundled=self.bundled or None, dim=self.dim, status=self.status
        )
        if not names:
            offer = "" if "*" in self.pattern else f"; for a part of a name: cpchub models '*{self.pattern}*'"
            say(f"no encoder matches {self.pattern!r} and the options{offer}")
        tables.models([get_spec(name) for name in names])


@dataclass(frozen=True)
class Show(Command):
    """Show the card of an encoder."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """catalog name, model folder or Hub id"""

    def run(self) -> None:
        from cpchub.cli import tables
        from cpchub.hub.locate import locate

        tables.card(locate(self.name, weights=False))


@dataclass(frozen=True)
class Publish(Command):
    """Publish a model folder to the Hub (log in with `hf auth login` first), or into a folder that serves as one."""

    folder: Folder
    """model folder, for example runs/RECIPE/export"""
    repo_id: Annotated[Positional[str], arg(metavar="REPO_ID")]
    """org/name, or folder:/path"""
    private: Switch = False
    """create the repository as a private one"""
    check: Switch = False
    """only say what would be uploaded"""
    parent: Annotated[str | None, arg(metavar="COMMIT")] = None
    """only if this is the newest commit there"""
    record: Annotated[Path | None, arg(metavar="ENTRY")] = None
    """then pin the catalog entry in this folder to the commit, for example model_cards/NAME"""

    def run(self) -> None:
        from cpchub.cli import tables
        from cpchub.hub import publish, release_plan

        if self.check:
            tables.plan(release_plan.plan(self.folder, self.repo_id))
            return
        published = publish.publish(self.folder, self.repo_id, private=self.private, parent=self.parent)
        print(f"{published.repo_id}@{published.revision}")
        if self.record is not None:
            say(f"Recorded in {published.record(self.folder, self.record)}")
        say(f'Load it: cpchub.load("{published.repo_id}")')


@dataclass(frozen=True)
class Verify(Command):
    """Read the files of an encoder again and hold each to its record; status 2 where one is changed or missing."""

    name: Annotated[Positional[str | None], arg(metavar="NAME")] = None
    """catalog name, model folder or Hub id"""
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
        say(
            f"No file differs from its record; {sum(check.state == 'fine' for check in found)} of {len(found)} have one"
        )

"""The command `publish`: an encoder or a classifier, for others to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cpchub.cli.base import Command, Folder, Switch, say
from cpchub.errors import ArgumentError

HEAD = "head.json"  # a folder that has it is a classifier


@dataclass(frozen=True)
class Publish(Command):
    """Publish an encoder or a classifier to the Hub (log in with `hf auth login` first), or into a folder that serves
    as one."""

    folder: Folder
    """run folder, for example runs/RECIPE, model folder, or a classifier that `cpchub classify --save` wrote"""
    repo_id: Annotated[Positional[str], arg(metavar="REPO_ID")]
    """org/name, or folder:/path"""
    private: Switch = False
    """create the repository as a private one"""
    check: Switch = False
    """only say what would be uploaded"""
    license: Annotated[str | None, arg(metavar="LICENSE")] = None
    """licence that you give your weights, for example mit; it is written into the folder's config.json first, or for a
    classifier into its card"""
    encoder: Annotated[str | None, arg(metavar="ORG/NAME")] = None
    """for a classifier: where others find its encoder; it is pinned to the newest commit there"""
    parent: Annotated[str | None, arg(metavar="COMMIT")] = None
    """only if this is the newest commit there"""
    record: Annotated[Path | None, arg(metavar="ENTRY")] = None
    """then pin the catalog entry in this folder to the commit, for example model_cards/NAME"""

    def run(self) -> None:
        from cpchub.cli import tables
        from cpchub.hub import publish, release_plan

        if (self.folder / HEAD).is_file():
            self._head()
            return
        if self.encoder is not None:
            raise ArgumentError(f"--encoder is for a classifier, and {self.folder} is none")
        if self.check:
            if self.license is not None:
                raise ArgumentError("--check changes nothing, and --license writes into the folder; leave one out")
            tables.plan(release_plan.plan_release(self.folder, self.repo_id))
            self._say_licence()
            return
        published = publish.publish(
            self.folder, self.repo_id, private=self.private, parent=self.parent, license=self.license
        )
        print(f"{published.repo_id}@{published.revision}")
        self._say_licence()
        if self.record is not None:
            say(f"Recorded in {published.record(self.folder, self.record)}")
        say(f'Load it: cpchub.load("{published.repo_id}")')

    def _head(self) -> None:
        from cpchub.cli import tables
        from cpchub.fewlabels.heads import release as head_release

        if self.record is not None:
            raise ArgumentError(f"--record is for an encoder, and {self.folder} is a classifier")
        if self.check:
            planned = head_release.plan_head_release(
                self.folder, self.repo_id, encoder=self.encoder, license=self.license
            )
            tables.plan(planned)
            return
        published = head_release.publish_head(
            self.folder,
            self.repo_id,
            encoder=self.encoder,
            license=self.license,
            private=self.private,
            parent=self.parent,
        )
        print(f"{published.repo_id}@{published.revision}")
        place = published.repo_id.removeprefix("folder:")
        say(f'Load it: cpchub.load_classifier("{place}"); apply it: cpchub classify COLLECTION --head {place}')

    def _say_licence(self) -> None:
        from cpchub.hub.derived import licence_sentence

        if sentence := licence_sentence(self.folder):
            say(sentence)

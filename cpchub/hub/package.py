"""What can be published: the files of a folder, and the card that is written for the name they get."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cpchub.catalog.spec import CARD, CONFIG, EVALUATION, PUBLISHED_FILES, RECIPE, FileRecord, ModelSpec, read_json
from cpchub.common.hashing import bytes_sha256
from cpchub.errors import ModelFolderError
from cpchub.hub import card
from cpchub.hub.derived import check_licence
from cpchub.hub.integrity import refuse_pickles, sha256_of, verified
from cpchub.hub.places import check_folder, model_folder


@dataclass(frozen=True)
class Package:
    """The files of `folder` that are published, by what they are.

    name: of its repository where only an organisation is known. file_names: all that a release of this kind may hold;
    one that is not there is removed from the repository, since it would be taken for part of the new release.
    render: the card for a repository. snippets: code that such a card must have, since readers copy it.
    """

    folder: Path
    name: str
    file_names: Sequence[str]
    render: Callable[[str], str]
    snippets: Callable[[str], Sequence[str]] = card.loading_snippets

    def card_for(self, repo_id: str, existing: str) -> str:
        """The card to publish: our block inside the folder's own text, or inside that of the card that is there.

        Raises ModelFolderError for a card that should not be published.
        """
        local = (self.folder / CARD).read_text(encoding="utf-8") if (self.folder / CARD).is_file() else ""
        text = card.merge(existing, self.render(repo_id), local=local)
        card.check(text, repo_id, self.snippets)
        return text

    def contents(self, card_text: str) -> dict[str, Path | bytes]:
        """What is published, by name: files of the folder, and the card's bytes."""
        there = {name: self.folder / name for name in self.file_names if (self.folder / name).is_file()}
        return {**there, CARD: card_text.encode()}


def encoder_package(folder: Path) -> Package:
    """A model folder, or that of a run, to be published; its weights are as recorded.

    Raises ModelFolderError, IntegrityError, UnsafeWeightsError.
    """
    folder = model_folder(folder)
    check_folder(folder, give="a run folder or a model folder")
    refuse_pickles((path.name for path in folder.iterdir()), str(folder))
    spec = verified(ModelSpec.from_folder(folder), str(folder))
    config = read_json(folder / CONFIG)
    if "cpchub" not in config:
        raise ModelFolderError(f"{folder / CONFIG} has no cpchub facts to make a card from; export the folder again")
    check_licence(folder)
    recipe, evaluation = (
        read_json(folder / name) if (folder / name).is_file() else None for name in (RECIPE, EVALUATION)
    )

    def render(repo_id: str) -> str:
        return card.render(config, recipe, evaluation, repo_id=repo_id)

    return Package(folder, spec.name, PUBLISHED_FILES, render)


def records_of(contents: Mapping[str, Path | bytes]) -> dict[str, FileRecord]:
    """The sha256 and size of each."""
    return {
        name: FileRecord(bytes_sha256(content), len(content))
        if isinstance(content, bytes)
        else FileRecord(sha256_of(content), content.stat().st_size)
        for name, content in contents.items()
    }

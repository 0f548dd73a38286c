"""Publish a head as a small repository that names its encoder by commit: everybody gets the same probabilities."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cpchub.catalog.licences import UNKNOWN, Parent, in_words, inherited, is_free
from cpchub.catalog.spec import CARD, ModelSpec
from cpchub.common.files import expanded
from cpchub.errors import ClassifierError, EncoderMismatchError
from cpchub.fewlabels.heads import card as head_card
from cpchub.fewlabels.heads.head import FACTS, TENSORS, Head, load_classifier
from cpchub.hub.locate import locate
from cpchub.hub.package import Package
from cpchub.hub.publish import Release, publish_package
from cpchub.hub.release_plan import ReleasePlan, plan_package

FILES = (FACTS, TENSORS, CARD)


def publish_head(
    folder: str | Path,
    repo_id: str,
    *,
    encoder: str | None = None,
    license: str | None = None,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    parent: str | None = None,
) -> Release:
    """Publish a head that `cpchub classify --save` wrote as `repo_id`, in one commit; its card tells the estimate.

    encoder: where others find its encoder, for example `org/name`; needed where the head knows it by a folder of this
    machine. It is pinned to the newest commit there. license: of the head; where its encoder's is stricter, that one
    holds. The other arguments are those of `cpchub.publish`.

    Raises ClassifierError for a head without an encoder that others can have, EncoderMismatchError for an encoder that
    is not that of the head, and what `cpchub.publish` raises.
    """
    with _package(folder, encoder, license, token) as package:
        return publish_package(package, repo_id, private=private, token=token, endpoint=endpoint, parent=parent)


def plan_head_release(
    folder: str | Path,
    repo_id: str,
    *,
    encoder: str | None = None,
    license: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> ReleasePlan:
    """What `publish_head` would do with the same arguments; nothing is made or uploaded."""
    with _package(folder, encoder, license, token) as package:
        return plan_package(package, repo_id, token=token, endpoint=endpoint)


@contextmanager
def _package(folder: str | Path, encoder: str | None, license: str | None, token: str | None) -> Iterator[Package]:
    """The head with its encoder pinned, in a folder of its own for as long as it is needed."""
    folder = expanded(folder)
    head, spec = pinned(load_classifier(folder), encoder, token)
    licence = licence_of(spec, license)
    with tempfile.TemporaryDirectory(prefix="cpchub-head-") as scratch:
        complete = head.save(Path(scratch) / "head")
        if (folder / CARD).is_file():
            (complete / CARD).write_bytes((folder / CARD).read_bytes())  # what its author wrote stays

        def render(repo_id: str) -> str:
            return head_card.render(head, repo_id, licence)

        yield Package(complete, folder.name, FILES, render, head_card.loading_snippets)


def pinned(head: Head, encoder: str | None, token: str | None = None) -> tuple[Head, ModelSpec]:
    """The head with its encoder named so that others find it: a repository and its commit, or a name of the catalog."""
    spec = locate(encoder or head.encoder_to_load, token=token, weights=False)
    if spec.fingerprint != head.encoder["fingerprint"]:
        raise EncoderMismatchError(
            f"{encoder or spec.name} has the fingerprint {spec.fingerprint}, and the encoder of the classifier, "
            f"{head.encoder['name']!r}, has {head.encoder['fingerprint']}: name the one that made the vectors"
        )
    if spec.status == "local":
        raise ClassifierError(
            f"the encoder of the classifier is the folder {spec.folder}, which others do not have. Publish it first "
            "(cpchub publish), and name it: --encoder ORG/NAME"
        )
    place = {"name": spec.name, "repo_id": None, "revision": None, "folder": None}
    if spec.status == "hub":
        place |= {"repo_id": spec.repo_id, "revision": spec.revision}
    return replace(head, encoder={**head.encoder, **place}), spec


def licence_of(spec: ModelSpec, license: str | None) -> str:
    """The licence of a head: its author's choice, unless its encoder's is stricter. Raises ClassifierError for a choice
    that the encoder does not allow."""
    parents = [Parent(spec.name, spec.license)]
    strict = inherited(license or UNKNOWN, parents)
    if license is not None and is_free(license) and strict != license:
        raise ClassifierError(
            f"the licence of the classifier cannot be {license}: its encoder is under {in_words(strict)}; use "
            f"--license {strict}"
        )
    return license or strict

"""The licence under which an encoder may be published: that of the encoders that it was made of goes over to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpchub.catalog.licences import Parent, in_words, inherited, is_free
from cpchub.catalog.spec import CONFIG, read_json
from cpchub.errors import ModelFolderError
from cpchub.hub.places import model_folder


def check_licence(folder: Path) -> None:
    """Raise ModelFolderError for an encoder whose licence is less strict than that of one that it was made of."""
    facts = _facts(folder)
    license, parents = str(facts.get("license", "")), _parents(facts)
    if is_free(license) and (strict := inherited(license, parents)) != license:
        made_of = ", ".join(parent.name for parent in parents if parent.license == strict)
        raise ModelFolderError(
            f"{folder / CONFIG} says that its licence is {license}, but it was made of {made_of}, whose licence is "
            f"{in_words(strict)}; write that licence into it, in cpchub and in pretrained_cfg"
        )


def licence_sentence(folder: str | Path) -> str:
    """What the licence of a model folder asks of those who use it, and where it comes from; "" where it is free."""
    facts = _facts(model_folder(Path(folder)))
    license = str(facts.get("license", ""))
    strict = [parent for parent in _parents(facts) if not is_free(parent.license)]
    if is_free(license) and not strict:
        return ""
    made_of = " and ".join(f"{parent.name} ({parent.license})" for parent in strict)
    origin = f"; it goes over from what it was made of, {made_of}" if strict else ""
    return f"Licence: {in_words(license)}{origin}"


def _facts(folder: Path) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = read_json(folder / CONFIG).get("cpchub", {})
    return facts


def _parents(facts: Mapping[str, Any]) -> list[Parent]:
    return [Parent(str(each["name"]), str(each["license"])) for each in facts.get("derived_from", [])]

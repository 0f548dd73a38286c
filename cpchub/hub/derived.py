"""The licence under which an encoder may be published: its author's choice, or that of the encoders it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpchub.catalog.licences import UNKNOWN, Parent, in_words, inherited, is_free
from cpchub.catalog.spec import CONFIG, read_json
from cpchub.common.files import expanded, write_json
from cpchub.errors import ArgumentError, ModelFolderError
from cpchub.hub.places import model_folder


def check_licence(folder: Path) -> None:
    """Raise ModelFolderError for an encoder whose licence is less strict than that of one that it was made of."""
    facts = _facts(folder)
    _check(facts, str(facts.get("license", "")), folder / CONFIG)


def state_licence(folder: str | Path, license: str) -> None:
    """Write the licence that its author has chosen into the `config.json` of a model folder, or of that of a run.

    Raises ModelFolderError for a folder that is none, and for a licence that is less strict than that of an encoder
    that it was made of; OutputError and NoSpaceError where it cannot be written.
    """
    if not license.strip():
        raise ArgumentError("the licence is empty; name one, for example mit")
    path = model_folder(expanded(folder)) / CONFIG
    config = read_json(path)
    facts = config.get("cpchub", {})
    _check(facts, license, path)
    timms = {**config.get("pretrained_cfg", {}), "license": license.lower()}
    write_json(path, {**config, "pretrained_cfg": timms, "cpchub": {**facts, "license": license}})


def _check(facts: Mapping[str, Any], license: str, config: Path) -> None:
    parents = _parents(facts)
    if is_free(license) and (strict := inherited(license, parents)) != license:
        made_of = ", ".join(parent.name for parent in parents if parent.license == strict)
        raise ModelFolderError(
            f"the licence of {config} cannot be {license}: the encoder was made of {made_of}, whose licence is "
            f"{in_words(strict)}; publish it under that one, by --license {strict}"
        )


def licence_sentence(folder: str | Path) -> str:
    """What the licence of a model folder asks of those who use it, and where it comes from; "" where it is free."""
    facts = _facts(model_folder(expanded(folder)))
    license = str(facts.get("license", ""))
    if license.lower() in (UNKNOWN, "") and not facts.get("derived_from"):
        return "Licence: unknown. If you trained it, choose one by --license, for example mit; else ask who did"
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

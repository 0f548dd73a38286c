"""Write the table of `docs/licences.md`: `python docs/licence_table.py`, in an environment with the extras installed.

A licence is what the installed package says of itself. The row of a package that is not installed stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from cpchub.hub.card_tables import table

PAGE = Path(__file__).parent / "licences.md"
BLOCK = re.compile(r"<!-- table -->\n(.*?)<!-- end of the table -->", re.DOTALL)
ROW = re.compile(r"^\| ([\w.-]+) \| [^|]*\| ([^|]+) \|$", re.MULTILINE)
NOT_OF_USERS = ("test", "bench", "docs")  # extras
CLASSIFIER = "License :: OSI Approved :: "
WORDS = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD-3": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "3-Clause BSD License": "BSD-3-Clause",
}


def page(text: str) -> str:
    """The page with its table written anew."""
    before = dict(ROW.findall(text))
    packages = sorted(direct().items(), key=lambda item: item[0].casefold())
    rows = [(name, ", ".join(extras), licence(name) or before.get(name, "unknown")) for name, extras in packages]
    written = table(("Package", "Comes with", "Licence"), rows)
    return BLOCK.sub(lambda _: f"<!-- table -->\n{written}\n<!-- end of the table -->", text)


def direct() -> dict[str, list[str]]:
    """Package -> the extras it comes with; "cpchub" for those that are always installed."""
    found: dict[str, list[str]] = {}
    for requirement in map(Requirement, metadata.requires("cpchub") or ()):
        extras = list(_extras_of(str(requirement.marker or "")))
        if requirement.name != "cpchub" and not (extras and set(extras) <= set(NOT_OF_USERS)):
            found.setdefault(requirement.name, []).extend(extras or ["cpchub"])
    return {name: _once(extra for extra in extras if extra not in NOT_OF_USERS) for name, extras in found.items()}


def licence(name: str) -> str | None:
    """What an installed package says; None for one that is not installed, or that says nothing in few words."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    said = about.get("License-Expression")
    if said:
        return str(said)
    classified = [each.removeprefix(CLASSIFIER) for each in about.get_all("Classifier", []) if CLASSIFIER in each]
    for text in (str(about.get("License", "")).strip(), ", ".join(classified)):
        if text and len(text) < 60 and "\n" not in text:
            return WORDS.get(text, text)
    return None


def _extras_of(marker: str) -> Iterator[str]:
    yield from re.findall(r"extra == [\"']([\w-]+)[\"']", marker)


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""The pages of the methods: tables that files give, every method on a page, and settings that exist."""

from __future__ import annotations

import re
import runpy
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from cpchub_training import methods
from cpchub_training.recipes import Recipe

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted((DOCS / "methods").glob("*.md"))
SYMBOLS = re.compile(r"^\| (?:Symbol|Task) \|.*\n\| ---.*\n((?:\|.*\n)+)", re.MULTILINE)
MARKED = re.compile(r"<!-- measured: ([\w ]+) -->")


def settings() -> set[str]:
    """The names of all settings of a recipe, `temperature` and `moco.queue_size`."""
    own = {field.name: getattr(Recipe("any"), field.name) for field in fields(Recipe)}
    groups = {name: value for name, value in own.items() if is_dataclass(value)}
    return own.keys() | {f"{name}.{field.name}" for name, group in groups.items() for field in fields(group)}


def test_the_tables_are_those_that_recipes_and_measurements_give() -> None:
    written_anew = runpy.run_path(str(DOCS / "method_tables.py"))["page"]
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    assert [name for name, text in texts.items() if text != written_anew(text)] == [], (
        "run: python docs/method_tables.py"
    )


def test_every_method_is_measured_on_one_page_and_the_first_page_leads_to_all() -> None:
    first, *others = sorted(PAGES, key=lambda page: page.stem != "index")
    named = Counter(
        name for page in others for names in MARKED.findall(page.read_text("utf-8")) for name in names.split()
    )
    assert named == Counter(methods.names())
    assert [page.name for page in others if f"({page.name})" not in first.read_text("utf-8")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    of_symbols = {
        name
        for table in SYMBOLS.findall(text)
        for line in table.splitlines()
        for name in re.findall(r"`([a-z]\w*(?:\.\w+)?)`", line)
    }
    dotted = set(re.findall(r"`((?:moco|bank|cmc|semi|cpc|audio|views)\.\w+)`", text))
    as_flags = {
        flag.replace("-", "_") for flag in re.findall(r"--((?:moco|bank|cmc|semi|cpc|audio|views)\.[\w-]+)", text)
    }
    not_of_recipes = {"channels", "space"}  # of a network's arguments
    assert of_symbols | dotted | as_flags <= settings() | not_of_recipes

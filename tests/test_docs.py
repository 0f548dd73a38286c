"""The documentation holds: names in the reference exist, links lead somewhere, and the examples of losses run."""

from __future__ import annotations

import ast
import doctest
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from cpchub.catalog.listing import get_spec
from cpchub.errors import UnknownModelError
from cpchub_training import losses
from cpchub_training.losses import in_batch, information, memory, metric

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"])
IDENTIFIERS = sorted(
    {name for page in PAGES for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)}
)
# of this project: names with dots, files and folders
DOTTED = re.compile(r"`((?:cpchub|cpchub_training|cpchub_serving)(?:\.\w+)+)")
PLACE = re.compile(r"`((?:cpchub|training|serving|tests|docs|benchmarks|model_cards)/[\w./]+)`")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def resolve(dotted: str) -> object:
    """The module, or the attribute of one, that a name with dots stands for."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_what_the_reference_names_exists_and_has_a_docstring(identifier: str) -> None:
    assert resolve(identifier).__doc__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_names_and_places_in_the_documents_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in DOTTED.findall(text):
        resolve(name)
    assert [place for place in PLACE.findall(text) if not (REPOSITORY / place).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_python_in_the_documents_parses_and_imports_what_exists(page: Path) -> None:
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cpchub"):
                for alias in node.names:
                    resolve(f"{node.module}.{alias.name}")
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cpchub":
                resolve(f"cpchub.{node.attr}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_no_example_makes_a_folder_with_the_name_of_an_encoder(page: Path) -> None:
    for folder in re.findall(r"^cpchub .* (?:-o|--out) ([\w./-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        with pytest.raises(UnknownModelError):
            get_spec(folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_examples_need_no_inner_path(page: Path) -> None:
    public = r"cpchub(?!\.(?:architectures|errors|fewlabels|index)\b)\."
    inner = re.compile(rf"from {public}\w+ import .*|import {public}\w+.*")
    examples = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert [line for example in examples for line in inner.findall(example)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_menu_has_every_page_once() -> None:
    listed: list[str] = []

    def walk(entry: object) -> None:
        if isinstance(entry, str):
            listed.append(entry)
        elif isinstance(entry, dict):
            walk(list(entry.values()))
        elif isinstance(entry, list):
            for inner in entry:
                walk(inner)

    walk(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("module", [in_batch, information, memory, metric], ids=lambda module: module.__name__)
def test_the_examples_of_the_losses_give_what_they_show(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_losses_that_no_recipe_uses_have_an_example() -> None:
    by_hand = ["margin_contrastive", "triplet", "mined_triplet", "nt_xent", *information_bounds()]
    assert [name for name in by_hand if ">>>" not in (getattr(losses, name).__doc__ or "")] == []


def information_bounds() -> list[str]:
    return [name for name in losses.__all__ if name.endswith("_bound")]


def test_the_guide_to_losses_names_each_loss_and_its_code_runs() -> None:
    text = (DOCS / "guides" / "losses.md").read_text(encoding="utf-8")
    taught = set(losses.__all__) - {"gather", "colour_loss", "distillation"}
    assert {name for name in taught if name not in text} == set()
    blocks = BLOCK.findall(text)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "docs/guides/losses.md", "exec"), {})  # noqa: S102  (the code is ours)

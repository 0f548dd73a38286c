"""The documentation holds: names in the reference exist, links lead somewhere, and the examples of losses run."""

from __future__ import annotations

import ast
import builtins
import doctest
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from torchvision.datasets import CIFAR10

from cpchub.catalog.listing import get_spec
from cpchub.cli.commands import COMMANDS
from cpchub.collection.import_vectors import import_vectors
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
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
def test_examples_use_no_name_that_the_page_has_not_given(page: Path) -> None:
    known = set(dir(builtins))
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        nodes = list(ast.walk(ast.parse(block)))
        imports = [alias for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names]
        known |= {alias.asname or alias.name.partition(".")[0] for alias in imports}
        known |= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        names = [node for node in nodes if isinstance(node, ast.Name)]
        known |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
        assert {name.id for name in names} - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_where_a_page_first_uses_a_file_of_labels_it_says_what_is_in_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if "labels.csv" in text:
        assert "path,label\n" in text or "`path,label`" in text


def test_the_guide_to_few_labels_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ["cat", "dog"] * 16
    vectors = np.tile(np.eye(2), (16, 1)) + 0.3 * np.random.default_rng(0).normal(size=(32, 2))
    import_vectors(tmp_path / "photos-index", vectors, [f"{row}.jpg" for row in range(32)], labels=labels)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.findall((DOCS / "guides" / "few-labels.md").read_text(encoding="utf-8")):
        exec(compile(block, "docs/guides/few-labels.md", "exec"), names)  # noqa: S102  (the code is ours)
    assert (tmp_path / "label_curve.png").is_file()


def test_the_guide_to_training_says_where_cifar10_is_and_how_it_is_checked() -> None:
    text = (DOCS / "guides" / "training.md").read_text(encoding="utf-8")
    assert CIFAR10.url in text
    assert f"{CIFAR10.tgz_md5}  data/{CIFAR10.filename}" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_commands_in_the_documents_are_understood(page: Path) -> None:
    blocks = SHELL.findall(page.read_text(encoding="utf-8"))
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [re.sub(r"^([A-Z_]+=\S+ )+", "", line) for line in lines]
    for command in commands:
        if command.startswith("cpchub ") and "RECIPE" not in command and "--help" not in command:
            name, *words = shlex.split(command.partition(" | ")[0], comments=True)[1:]
            COMMANDS[name].parse(words)


def test_answers_to_newcomers_name_what_is_in_the_file_or_beside_it() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Ten questions")[2]
    rows = re.findall(r"^\| .+\? \| (.+) \| `(.+)` \|$", text.partition("\n## ")[0], re.MULTILINE)
    assert len(rows) == 10
    for answer, file in rows:
        named = re.findall(r"`(_?[a-z_]+|[A-Z]+|[A-Z][A-Za-z]+)`", answer)
        beside = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / file).parent.glob("*.py"))
        assert [
            name for name in named if not re.search(rf"\b(def|class) {name}\b|^{name}\b|import .*{name}", beside, re.M)
        ] == []


def test_no_two_commands_of_a_page_write_one_folder_unless_it_is_the_same_again() -> None:
    for page in PAGES:
        for block in SHELL.findall(page.read_text(encoding="utf-8")):
            out = re.findall(r"^(cpchub export) .*?-o ([\w./-]+)", block, re.MULTILINE)
            assert len(set(out)) == len(out), page


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

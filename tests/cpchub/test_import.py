"""Importing is light: heavy libraries come with the first call that needs them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import cpchub

HEAVY = ("torch", "timm", "faiss", "gradio", "numpy", "sklearn", "pyarrow", "matplotlib", "huggingface_hub")


def heavy_modules_after(code: str) -> list[str]:
    """Which heavy modules a fresh interpreter has loaded after running `code`."""
    report = f"import json, sys; {code}; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_import_loads_nothing_heavy() -> None:
    assert heavy_modules_after("import cpchub") == []


def test_help_loads_nothing_heavy() -> None:
    assert heavy_modules_after("from cpchub.cli.main import main; main(['--help'])") == []


def test_help_of_a_command_loads_nothing_heavy() -> None:
    parse = "from cpchub.cli.embedding import IndexCommand; IndexCommand.parse(['photos', '-o', 'out'])"
    assert heavy_modules_after(parse) == []


def test_listing_and_describing_encoders_needs_no_torch() -> None:
    assert "torch" not in heavy_modules_after("import cpchub; cpchub.list_models(); cpchub.ModelSpec")


@pytest.mark.parametrize("name", cpchub.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(cpchub, name) is not None
    assert name in dir(cpchub)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cpchub' has no attribute 'laod'"):
        _ = cpchub.laod  # type: ignore[attr-defined]


def test_importing_a_module_does_not_hide_a_public_name() -> None:
    code = "import cpchub.embedding.job, cpchub.index; assert callable(cpchub.embed_folder) and callable(cpchub.Index)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_the_one_that_is_installed() -> None:
    from importlib.metadata import version

    assert cpchub.__version__ == version("cpchub")


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    tree = ast.parse(Path(cpchub.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    found = {alias.asname or alias.name: (node.module, alias.name) for node in imports for alias in node.names}
    assert set(found) | {"__version__"} == set(cpchub.__all__)
    for name, (module, original) in found.items():
        assert getattr(import_module(str(module)), original) is getattr(cpchub, name)

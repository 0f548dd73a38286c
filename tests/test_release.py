"""What a release is made of agrees: version, changes, citation, licences, and the workflows with the Makefile."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

import cpchub

REPOSITORY = Path(__file__).parents[1]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
PYTHON = "Programming Language :: Python :: "


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_changes_and_citation_are_of_this_version() -> None:
    assert re.search(rf"^## {re.escape(cpchub.__version__)}\b", read("CHANGELOG.md"), re.MULTILINE)
    assert str(yaml.safe_load(read("CITATION.cff"))["version"]) == cpchub.__version__


def test_every_package_that_users_are_given_has_its_licence_in_the_list() -> None:
    """Not compared with what is installed: other versions of a package may use other words."""
    table = runpy.run_path(str(REPOSITORY / "docs" / "licence_table.py"))
    text = read("docs/licences.md")
    assert "unknown" not in text
    assert [name for name in table["direct"]() if f"\n| {name} | " not in text] == []
    assert table["page"](text).count("\n| ") == text.count("\n| ")


def test_the_pythons_that_are_tested_are_those_that_are_promised() -> None:
    promised = set(re.findall(rf'"{PYTHON}(3\.\d+)"', read("pyproject.toml")))
    steps = yaml.safe_load(read(".github/workflows/test.yml"))["jobs"]["test"]
    assert set(steps["strategy"]["matrix"]["python"]) == promised
    lowest = re.search(r'requires-python = ">=(3\.\d+)"', read("pyproject.toml"))
    assert lowest
    assert lowest[1] == min(promised, key=lambda version: int(version.split(".")[1]))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_have_few_rights_and_call_what_exists(path: Path) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    targets = re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE)
    for job in workflow["jobs"].values():
        assert job.get("timeout-minutes", 0) <= 90
        for step in job["steps"]:
            command = step.get("run", "")
            for target in re.findall(r"\bmake ([\w-]+)", command):
                assert target in targets
            for module in re.findall(r"python -m (cpchub[\w.]+)", command):
                assert (REPOSITORY / f"{module.replace('.', '/')}.py").is_file()
            for script in re.findall(r"^(\.\w[\w/]+)", command, re.MULTILINE):
                assert (REPOSITORY / script).is_file()

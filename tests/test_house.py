"""The house is as `docs/architecture.md` says: rooms have sentences, no folder is deep, no file or function is long."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("cpchub", "training/cpchub_training", "serving/cpchub_serving")
MODULES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
ALL_CODE = sorted(path for top in (*PACKAGES, "tests", "benchmarks") for path in (REPOSITORY / top).rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 300, 60
LONG_FOR_A_REASON = re.compile(r"^# long: .+", re.MULTILINE)  # a file that says why it is longer


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def rooms() -> set[str]:
    return {relative(path.parent) + "/" for path in MODULES if path.name == "__init__.py"}


def test_every_room_has_a_sentence_and_every_sentence_a_room() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([\w/]+/)` \| (.+) \|$", page, re.MULTILINE))
    assert set(table) == rooms()
    assert all(sentence.endswith(".") for sentence in table.values())


def test_every_file_says_what_is_in_it() -> None:
    silent = [relative(path) for path in ALL_CODE if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert not [name for name in silent if not name.endswith("__main__.py")]


@pytest.mark.parametrize(("package", "most"), [("cpchub", 5), (PACKAGES[1], 3), (PACKAGES[2], 3)])
def test_few_modules_are_loose(package: str, most: int) -> None:
    assert len(list((REPOSITORY / package).glob("*.py"))) <= most


def test_no_folder_is_deeper_than_three_levels() -> None:
    for package in PACKAGES:
        assert all(
            len(path.relative_to(REPOSITORY / package).parts) <= 3 for path in (REPOSITORY / package).rglob("*.py")
        )


def test_no_file_is_long_but_for_a_reason_that_it_states() -> None:
    long = []
    for path in ALL_CODE:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MOST_LINES and not LONG_FOR_A_REASON.search(text):
            long.append(f"{relative(path)}: {len(text.splitlines())}")
    assert not long


def test_no_function_is_long() -> None:
    long = []
    for path in ALL_CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{relative(path)}: {node.name} has {lines} lines")
    assert not long


def test_tests_wait_for_conditions_and_not_for_a_time() -> None:
    """`wait_for` sleeps between two looks; a job of the page sleeps as it stands for a search that takes long."""
    sleeping = {
        relative(path) for path in (REPOSITORY / "tests").rglob("*.py") if re.search(r"\bsleep\(", path.read_text())
    }
    assert sleeping == {"tests/processes.py", "tests/serving/page_host.py"}

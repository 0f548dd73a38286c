"""The page of errors: each type has its section, and what it quotes is what the program says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cpchub import errors

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
TYPES = [
    name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
]
QUOTED = [" ".join(block.split()) for block in re.findall(r"^```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]
QUOTED += [
    " ".join(line.split()) for line in re.findall(r"^\| `(.+?)` \| ", TEXT.partition("## Notes")[2], re.MULTILINE)
]


@pytest.fixture(scope="module")
def said() -> list[str]:
    """The constant parts of all texts in the program, the longest first."""
    parts: set[str] = set()
    for folder in ("cpchub", "training/cpchub_training", "serving/cpchub_serving"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    parts |= {" ".join(each.split()) for each in node.value.splitlines()}
    return sorted((part for part in parts if len(part) >= 8 and " " in part), key=len, reverse=True)


@pytest.mark.parametrize("name", TYPES)
def test_each_type_of_error_has_its_section(name: str) -> None:
    assert TEXT.count(f"\n### `{name}`\n") == 1


def test_no_section_is_of_a_type_that_there_is_not() -> None:
    assert set(re.findall(r"^### `(\w+)`$", TEXT, re.MULTILINE)) == set(TYPES)


@pytest.mark.parametrize("message", QUOTED, ids=lambda message: message[:60])
def test_a_quoted_message_is_one_that_the_program_says(message: str, said: list[str]) -> None:
    left = re.sub(r"^(error|note): ", "", message)
    length = len(left)
    for part in said:
        left = left.replace(part, "")
    assert len(left) < 0.6 * length, f"of this message the program does not say: {left}"

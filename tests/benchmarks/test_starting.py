"""Every benchmark starts as the documents say, and the documents name benchmarks that exist."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MODULES = {path.stem: path.read_text(encoding="utf-8") for path in (REPOSITORY / "benchmarks").glob("*.py")}
BENCHMARKS = sorted(name for name, text in MODULES.items() if "__main__" in text)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_tells_how_it_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPOSITORY / "benchmarks" / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_what_is_no_benchmark_itself_is_a_part_of_one() -> None:
    imported = {name for text in MODULES.values() for name in re.findall(r"^from benchmarks\.(\w+) import", text, re.M)}
    assert set(MODULES) - set(BENCHMARKS) <= imported


def test_documents_name_benchmarks_that_exist() -> None:
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "benchmarks").glob("*.py")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"-m benchmarks\.([a-z]\w*)", text))
    assert named
    assert named <= set(BENCHMARKS)

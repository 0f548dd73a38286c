"""Every benchmark starts as the documents say, and the documents name benchmarks that exist."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "benchmarks"
FILES = {path.stem: path for path in FOLDER.glob("*.py")} | {
    path.parent.name: path for path in FOLDER.glob("*/__main__.py")
}
MODULES = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
BENCHMARKS = sorted(name for name, text in MODULES.items() if "__main__" in text)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_tells_how_it_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FILES[name]), run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_ends_in_one_line_where_it_was_given_what_it_cannot_use(name: str) -> None:
    assert MODULES[name].endswith('if __name__ == "__main__":\n    in_one_line(main)\n')


@pytest.mark.parametrize(
    "words",
    [
        "photos_watch nowhere nowhere",
        "photos_choice --images nowhere",
        "photos_choice --images nowhere unheard-of",
        "photos_data --tiny nowhere --cifar10 nowhere --out new",
        "own_encoder nowhere",
        "transfer nowhere",
        "calibration nowhere",
        "fewlabels nowhere",
        "duplicates --photos nowhere",
        "embedding --photos nowhere",
        "search --vectors nowhere.npy",
        "scale measure nowhere",
        "search_peers nowhere",
        "methods unheard-of",
        "cpc_ablation unheard-of",
        "fuzz --formats unheard-of",
        "memory --only unheard-of",
    ],
)
def test_a_place_or_a_word_that_there_is_not_is_named(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *args = words.split()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *args])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FILES[name]), run_name="__main__")
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert "nowhere" in said or "unheard-of" in said
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_benchmark_itself_is_a_part_of_one() -> None:
    found = [re.findall(r"^from benchmarks(?:\.(\w+))? import (\w+)", text, re.M) for text in MODULES.values()]
    imported = {module or name for each in found for module, name in each}
    assert set(MODULES) - set(BENCHMARKS) <= imported


def test_documents_name_benchmarks_that_exist() -> None:
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *FILES.values()]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"-m benchmarks\.([a-z]\w*)", text))
    assert named
    assert named <= set(BENCHMARKS)

"""Help, flags and words that do not fit, and what is missing: said in one line, with status 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cpchub.cli import commands
from cpchub.cli.main import main
from cpchub.common import extras
from tests.cpchub.cli.usage import usage_error


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in commands.COMMANDS)


def test_nothing_at_all_is_a_usage_error() -> None:
    assert main([]) == 2


def test_an_unknown_command_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serch", "x"]) == 2
    assert capsys.readouterr().err == "error: no command 'serch'; did you mean 'search'?\n"


@pytest.mark.parametrize("args", [["models"], ["duplicates", "COLLECTION"], ["quickstart"]])
def test_what_is_work_of_one_process_is_refused_under_torchrun(
    args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("TORCHELASTIC_RUN_ID", "none")):
        monkeypatch.setenv(name, value)
    assert main(args) == 2
    said = capsys.readouterr()
    assert said.err == f"error: `cpchub {args[0]}` is work of one process, not of 2; start it without torchrun\n"
    assert not said.out


@pytest.mark.parametrize("args", [["index"], ["index", "x", "--nope"], ["search", "a", "b", "-k", "many"]])
def test_flags_that_do_not_fit_end_with_status_2(args: list[str]) -> None:
    assert usage_error(*args) == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["index", "x", "-o", "y", "--kind", "flat"],
            "'auto', 'exact', 'rabitq', 'ivf-rabitq', 'hnsw', 'pq', 'ivf-pq'",
        ),
        (["demo", "x", "--port", "abc"], "invalid literal for int() with base 10: 'abc'"),
    ],
)
def test_an_option_that_may_be_left_out_never_offers_none(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert usage_error(*args) == 2
    answer = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in answer
    assert "None" not in answer


@pytest.mark.parametrize("name", sorted(commands.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error(name, "--help") == 0
    assert f"usage: cpchub {name}" in capsys.readouterr().out


def test_a_missing_extra_is_one_error_with_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(extras, "INSTALLED_IN", tmp_path)
    assert main(["demo", "somewhere"]) == 2
    assert capsys.readouterr().err == 'error: gradio is not installed; run: pip install "cpchub[demo]"\n'

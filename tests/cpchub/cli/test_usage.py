"""Help, flags and words that do not fit, and what is missing: said in one line, with status 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from cpchub.cli import commands
from cpchub.cli.main import ELSEWHERE, main, overview
from cpchub.common import extras


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in commands.COMMANDS)


def test_detect_says_that_it_is_a_benchmark() -> None:
    assert "detect        A benchmark, which finds nothing in images of your own" in " ".join(overview().split("\n"))


def test_nothing_at_all_is_a_usage_error() -> None:
    assert main([]) == 2


def test_an_unknown_command_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serch", "x"]) == 2
    assert capsys.readouterr().err == "error: no command 'serch'; did you mean 'search'?\n"


def test_a_word_of_another_program_offers_the_command_of_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    words = {word: name for name, others in ELSEWHERE.items() for word in others}
    assert set(words.values()) <= set(commands.COMMANDS)
    assert not set(words) & set(commands.COMMANDS)
    assert main(["list"]) == 2
    assert capsys.readouterr().err == "error: no command 'list'; did you mean 'models'?\n"


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


WRONG = {
    "index": "cpchub index lacks IMAGES and -o PATH; see cpchub index --help",
    "index x": "cpchub index lacks -o PATH; see cpchub index --help",
    "index x out": "cpchub index lacks -o PATH; did you mean -o out?",
    "index x --output out": "cpchub index has no option --output; did you mean -o?",
    "index x -o": "-o PATH: the value is missing; see cpchub index --help",
    "index x -o y --nope": "cpchub index has no option --nope; see cpchub index --help",
    "index x -o y --batchsize 3": "cpchub index has no option --batchsize; did you mean --batch-size?",
    "index x -o y --recall some": "--recall takes a number, not 'some'",
    "index x -o y --kind flat": (
        "--kind is 'flat'; it is one of 'auto', 'exact', 'rabitq', 'ivf-rabitq', 'hnsw', 'pq', 'ivf-pq', 'ivf-sq8'"
    ),
    "search a b -k many": "-k takes a whole number, not 'many'",
    "search a b --top-k 3": "cpchub search has no option --top-k; did you mean -k?",
    "search a b -n 3": "cpchub search has no option -n; did you mean -k?",
    "models a b": "cpchub models has no place for 'b'; see cpchub models --help",
    "quickstart photos": "cpchub quickstart has no place for 'photos'; did you mean --images photos?",
    "train simclr_photos photos": (
        "cpchub train simclr_photos has no place for 'photos'; did you mean --images photos?"
    ),
    "eval simclr digits": "cpchub eval lacks --images IMAGES; did you mean --images digits?",
    "demo x --port abc": "--port takes a whole number, not 'abc'",
    "train --lst": "cpchub train RECIPE has no option --lst; did you mean --list?",
    "distil": "cpchub distil lacks RUN; see cpchub distil --help",
}


@pytest.mark.parametrize("words", WRONG)
def test_words_that_do_not_fit_are_one_line_that_offers_the_right_one(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr() == ("", f"error: {WRONG[words]}\n")


def test_a_tyro_without_the_hook_for_errors_still_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(tyro, "_errors")
    with pytest.raises(SystemExit) as end:
        main(["index", "x"])
    assert end.value.code == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["models", "--help"], ["models"]])
def test_a_reader_who_leaves_is_no_error(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        done = subprocess.run([sys.executable, "-m", "cpchub", *words], stdout=gone, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("name", sorted(commands.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"usage: cpchub {name}" in capsys.readouterr().out


def test_a_missing_extra_is_one_error_with_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(extras, "INSTALLED_IN", tmp_path)
    assert main(["demo", "somewhere"]) == 2
    assert capsys.readouterr().err == 'error: gradio is not installed; run: pip install "cpchub[demo]"\n'


def test_a_gpu_that_is_full_is_said_in_a_line_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    def run(self: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nProcess 7 has 70 GiB in use.")

    monkeypatch.setattr(commands.COMMANDS["models"], "run", run)
    assert main(["models"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the GPU has too little memory for this (CUDA out of memory. Tried")
    assert "--batch-size" in line


def test_other_faults_of_the_program_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(commands.COMMANDS["models"], "run", run)
    with pytest.raises(RuntimeError, match="a fault"):
        main(["models"])

"""A thing has one word in all commands; the words of before are understood for one version, with a note."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cpchub.cli.commands import COMMANDS
from cpchub.cli.main import main
from cpchub.cli.training import TrainRecipe

# command -> the words that it needs beside its images
TAKES_IMAGES = {
    "quickstart": [],
    "train": ["simclr_photos"],
    "eval": ["simclr"],
    "compare": ["simclr", "moco"],
    "report": ["simclr"],
    "detect": ["simclr"],
    "suite": [],
    "embed": ["-o", "out"],
    "index": ["-o", "out"],
    "duplicates": [],
    "outliers": [],
}
WITHOUT_A_FLAG = ("embed", "index", "duplicates", "outliers")
OLD = {
    "train simclr_photos --data photos": "train simclr_photos --images photos",
    "train cpc_audio_librispeech --data=sounds": "train cpc_audio_librispeech --recordings=sounds",
    "eval simclr --data digits": "eval simclr --images digits",
    "eval simclr --images digits --scratch-pictures 9": "eval simclr --images digits --scratch-images 9",
    "compare simclr moco --data digits": "compare simclr moco --images digits",
    "report simclr --data digits": "report simclr --images digits",
    "detect simclr --data voc": "detect simclr --images voc",
    "distil runs/a --labels 0.1": "distil runs/a --label-fraction 0.1",
}


def parsed(words: str) -> object:
    name, *args = words.split()
    return COMMANDS[name].parse(args)


@pytest.mark.parametrize("name", TAKES_IMAGES)
def test_images_are_named_by_images_in_every_command(name: str) -> None:
    command = COMMANDS[name].parse([*TAKES_IMAGES[name], "--images", "photos"])
    given = vars(command) if not isinstance(command, TrainRecipe) else {"images": command.recipe.data}
    assert str(given.get("images") or given["source"]) == "photos"
    if name in WITHOUT_A_FLAG:
        assert command == COMMANDS[name].parse(["photos", *TAKES_IMAGES[name]])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_the_same_option_for_quiet(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for recipe in ([], ["simclr_photos"]) if name == "train" else ([],):
        with pytest.raises(SystemExit):
            COMMANDS[name].parse([*recipe, "--help"])
        assert re.search(r"-q, --quiet +print the answer only", capsys.readouterr().out)


def test_quiet_is_the_answer_alone(
    collection: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = min(path.name for path in images.iterdir())
    capsys.readouterr()
    assert main(["search", str(collection), first, "--show", str(tmp_path / "a.png"), "-k", "3", "--quiet"]) == 0
    said = capsys.readouterr()
    assert (len(said.out.splitlines()), said.err) == (3, "")
    assert main(["search", str(collection), first, "--show", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().err == f"Contact sheet: {tmp_path / 'a.png'}\n"
    assert main(["search", str(collection), "nothing.png", "-q"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no file nothing.png")
    assert main(["duplicates", str(images), "-q"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_help_has_another_word_for_images(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        COMMANDS[name].parse([*(["simclr_photos"] if name == "train" else []), "--help"])
    said = capsys.readouterr().out
    assert bool(re.search(r"^.*IMAGES\b", said, re.M)) == (name in TAKES_IMAGES)
    assert "SOURCE" not in said
    assert "--data " not in said or name == "import"  # there it is a sentence of the card


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_labels_is_a_file_of_path_and_label_in_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        COMMANDS[name].parse(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ("--labels" in said) == (name in ("embed", "index", "classify", "label-errors", "label-next", "audit"))
    if "--labels" in said:
        assert re.search(r"--labels (folders\|)?CSV the [^:]*labels[^:]*: a CSV with the columns path,label", said)


@pytest.mark.parametrize("words", OLD)
def test_an_older_word_means_todays_and_says_so_in_one_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed(words) == parsed(OLD[words])
    (note,) = capsys.readouterr().err.splitlines()
    old, new = (set(text.replace("=", " ").split()) for text in (words, OLD[words]))
    (before,), (after,) = old - new, new - old
    assert note == f"note: {before} is called {after} now; the old word goes with the next version"


def test_what_stands_after_two_dashes_is_no_flag() -> None:
    assert str(vars(parsed("duplicates -- --images"))["images"]) == "--images"

"""What can be known without torch is said before torch is imported: commands in a process that cannot import it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from cpchub.collection.import_vectors import import_vectors
from cpchub.index import Index

NOBODY = "http://127.0.0.1:9"  # where nobody listens
RUN = """
import contextlib, io, json, sys, traceback
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "timm", "gradio"):
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, NoTorch())
from importlib.machinery import PathFinder
from cpchub.cli.main import main
from cpchub.common import extras
extras.find_spec = PathFinder.find_spec  # they are installed all the same
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(json.loads(line))
        except SystemExit as end:
            status = end.code
        except Exception:
            status = traceback.print_exc(file=err)
    print(json.dumps([status, out.getvalue(), err.getvalue()]))
"""

WRONG = {
    "index a folder": (["index", "nowhere", "-o", "out"], "no folder of images at {here}/nowhere"),
    "index an encoder's folder": (
        ["index", "photos", "-o", "out", "--encoder", "runs/shrot"],
        "There is no folder runs/shrot; did you mean runs/short?",
    ),
    "index an encoder's name": (["index", "photos", "-o", "out", "--encoder", "simclrr"], "did you mean"),
    "index by a recipe": (
        ["index", "photos", "-o", "out", "--encoder", "cpc-resnet170"],
        "there are no weights for it",
    ),
    "index by a repository, offline": (
        ["index", "photos", "-o", "out", "--encoder", "org/none"],
        "org/none is not in the cache and the Hub cannot be reached",
    ),
    "index by a run that nobody has trained": (
        ["index", "photos", "-o", "out", "--encoder", "trainings/photos"],
        "There is no folder trainings/photos here",
    ),
    "index by the file of its authors, offline": (
        ["index", "photos", "-o", "out", "--encoder", "dino-resnet50"],
        "dino-resnet50 could not be fetched: http://127.0.0.1:9/",
    ),
    "index labels": (["index", "photos", "-o", "out", "--labels", "nowhere.csv"], "nowhere.csv"),
    "index a folder without images": (["index", "runs", "-o", "out"], "no images"),
    "embed": (["embed", "nowhere", "-o", "out"], "no folder of images at {here}/nowhere"),
    "search a collection": (["search", "nowhere", "a.png"], "there is no collection at nowhere"),
    "search with a file": (["search", "made", "nowhere.png"], "there is no file nowhere.png"),
    "search with one more file": (["search", "made", "a", "--plus", "nowhere.png"], "there is no file nowhere.png"),
    "search by a condition": (["search", "made", "photos/a.png", "--where", "label ="], "label ="),
    "duplicates": (["duplicates", "nowhere"], "no folder of images at {here}/nowhere"),
    "outliers": (["outliers", "nowhere"], "no folder of images at {here}/nowhere"),
    "classify": (["classify", "nowhere", "--labels", "labels.csv"], "there is no collection at nowhere"),
    "classify by labels": (["classify", "made", "--labels", "nowhere.csv"], "no file of labels at nowhere.csv"),
    "classify by nothing": (["classify", "made"], "takes --labels CSV, or --head with a saved classifier"),
    "classify by a head": (["classify", "made", "--head", "nowhere"], "there is no folder nowhere. Save one"),
    "classify into a folder with images": (
        ["classify", "made", "--labels", "nowhere.csv", "--copy-to", "photos"],
        "photos exists with other content (a.png)",
    ),
    "label-errors": (["label-errors", "made", "--labels", "nowhere.csv"], "no file of labels at nowhere.csv"),
    "label-next": (["label-next", "nowhere"], "there is no collection at nowhere"),
    "label-next by labels": (["label-next", "made", "--labels", "nowhere.csv"], "no file of labels at nowhere.csv"),
    "label-next into a file that is there": (
        ["label-next", "made", "-o", "photos/a.png"],
        "photos/a.png exists and may hold labels; give --out another name",
    ),
    "audit": (["audit", "nowhere"], "there is no collection at nowhere"),
    "audit of nothing": (["audit", "made", "--labels", "nowhere.csv"], "name it with --head"),
    "audit by labels": (["audit", "made", "--head", "x", "--labels", "nowhere.csv"], "no file of labels at nowhere"),
    "classify up to no share": (["classify", "made", "--labels", "a.csv", "--target", "95"], "--target 95: give an"),
    "info": (["info", "nowhere"], "there is no collection at nowhere"),
    "map": (["map", "nowhere"], "there is no collection at nowhere"),
    "merge": (["merge", "made", "nowhere", "-o", "out"], "there is no collection at nowhere"),
    "fetch": (["fetch", "simclrr"], "did you mean"),
    "show": (["show", "simclrr"], "did you mean"),
    "verify": (["verify", "runs/nowhere"], "There is no folder runs/nowhere"),
    "publish": (
        ["publish", "nowhere", "you/photos"],
        "There is no folder nowhere; give a run folder or a model folder",
    ),
    "demo": (["demo", "nowhere"], "there is no collection at nowhere"),
    "demo at a port": (["demo", "made", "--port", "99999"], "Port 99999 cannot be used"),
    "demo with an encoder": (["demo", "made", "--encoder", "runs/nowhere"], "There is no folder runs/nowhere"),
    "quickstart": (["quickstart", "--images", "nowhere"], "no data set called 'nowhere'"),
    "quickstart at a port": (["quickstart", "--port", "99999"], "Port 99999 cannot be used"),
    "train a recipe": (["train", "simclr_digit"], "did you mean simclr_digits"),
    "train on a folder": (["train", "simclr_photos", "--images", "nowhere"], "there is no folder or file nowhere, and"),
    "train on nothing": (["train", "simclr_photos"], "name their folder with --images"),
    "train on CIFAR-10": (
        ["train", "simclr_resnet18_cifar10_200e"],
        "CIFAR-10 is not in the folder data (data_batch_1 is missing): unpack https://www.cs.toronto.edu/~kriz/cifar-10",
    ),
    "train from an encoder": (["train", "simclr_digits", "--init-from", "./nowhere"], "There is no folder nowhere"),
    "train with another method's flag": (["train", "simclr_digits", "--moco.queue-size", "9"], "--moco.queue-size"),
    "distil": (["distil", "nowhere"], "there is no run folder nowhere"),
    "eval a run": (["eval", "runs/nowhere", "--images", "digits"], "There is no folder runs/nowhere"),
    "eval on a folder": (["eval", "simclr", "--images", "nowhere"], "there is no folder nowhere, and no data set"),
    "eval on a share": (["eval", "simclr", "--images", "digits", "--fractions", "some"], "give numbers"),
    "eval by a protocol": (["eval", "simclr", "--images", "digits", "--protocol", "knn,line"], "--protocol 'line'"),
    "eval by nothing": (["eval", "simclr", "--images", "digits", "--protocol", ","], "--protocol names nothing"),
    "eval on too much": (["eval", "simclr", "--images", "digits", "--fractions", "200"], "above 0 and up to 100"),
    "eval on no label": (["eval", "simclr", "--images", "digits", "--per-class", "0"], "each 1 or more"),
    "eval by one seed twice": (["eval", "simclr", "--images", "digits", "--seeds", "0,0"], "and each once"),
    "eval from nothing": (["eval", "simclr", "--images", "digits", "--scratch-images", "0"], "give 1 or more"),
    "compare on nothing": (["compare", "simclr", "--images", ","], "name one or more with --images"),
    "compare": (["compare", "simclr", "./nowhere", "--images", "digits"], "There is no folder nowhere"),
    "report": (["report", "runs/nowhere", "--images", "digits"], "There is no folder runs/nowhere"),
    "detect": (["detect", "simclr", "--images", "nowhere"], "there is no folder nowhere"),
    "detect in a way": (["detect", "simclr", "--images", "photos", "--modes", "cold"], "--modes 'cold' is none of"),
    "export": (["export", "runs/nowhere", "-o", "a.onnx"], "There is no folder runs/nowhere"),
    "export a collection": (
        ["export", "made", "-o", "out", "--to", "numpy", "--opset", "17"],
        "--opset and --dynamic-size are for an encoder, and made is a collection",
    ),
    "export a program by ONNX's operators": (
        ["export", "simclr", "-o", "a.pt2", "--opset", "20"],
        "--opset is for ONNX, and a.pt2 is torch's exported program; leave it out",
    ),
    "import": (["import", "nowhere.pth", "-o", "out"], "there is no file nowhere.pth"),
    "import as a format": (["import", "photos/a.png", "-o", "out", "--as", "mocoo"], "There is no format 'mocoo'"),
    "import over images": (["import", "photos/a.png", "-o", "photos"], "photos exists with other content (a.png)"),
}
RIGHT = {
    "list": ["train", "--list"],
    "help of simclr": ["train", "simclr_digits", "--help"],
    "help of moco": ["train", "simclr_digits", "--method", "moco_v2", "--help"],
    "help of sound": ["train", "cpc_audio_librispeech", "--help"],
    "help": ["--help"],
    "search by a path of the collection": ["search", "made", "a", "-k", "1"],
    "images to label": ["label-next", "../labelled/index", "-n", "2"],
    "images to label beside labels": ["label-next", "../labelled/index", "--labels", "../labelled/labels.csv"],
}


class Answer(NamedTuple):
    status: int | None  # None for an error that is not ours
    out: str
    err: str


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, a folder of one image that is none, and a collection."""
    here = tmp_path_factory.mktemp("here").resolve()
    (here / "runs" / "short").mkdir(parents=True)
    (here / "photos").mkdir()
    (here / "photos" / "a.png").touch()
    Index.build(import_vectors(here / "made", np.eye(2, dtype=np.float32), ["a", "b"]))
    index = import_vectors(here.parent / "labelled" / "index", np.eye(6, dtype=np.float32), list("abcdef"))
    (index.folder.parent / "labels.csv").write_text("path,label\na,cat\nb,dog\n")
    return here


@pytest.fixture(scope="module")
def answers(here: Path) -> dict[str, Answer]:
    """What each command answers, all of them in one process without torch."""
    nobody = {"HF_ENDPOINT": NOBODY, "CPCHUB_MIRROR": NOBODY, "HF_HOME": str(here.parent / "cache")}
    commands = {name: command for name, (command, _) in WRONG.items()} | RIGHT
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(map(json.dumps, commands.values())),
        capture_output=True,
        text=True,
        check=True,
        cwd=here,
        env=os.environ | nobody | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    return dict(zip(commands, (Answer(*json.loads(line)) for line in done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_there_is_said(name: str, answers: dict[str, Answer], here: Path) -> None:
    answer = answers[name]
    assert answer.status == 2
    assert WRONG[name][1].format(here=here) in " ".join(answer.err.split())
    assert len(answer.err.splitlines()) == 1  # the client of the Hub adds nothing
    assert sorted(path.name for path in here.iterdir()) == ["made", "photos", "runs"]


def test_recipes_are_listed(answers: dict[str, Answer]) -> None:
    assert answers["list"].status == 0
    assert "simclr_digits" in answers["list"].out.splitlines()


def test_the_help_of_a_recipe_has_the_settings_of_its_method_and_no_others(answers: dict[str, Answer]) -> None:
    simclr, moco, sound = (answers[f"help of {name}"] for name in ("simclr", "moco", "sound"))
    assert (simclr.status, moco.status, sound.status) == (0, 0, 0)
    assert "--projector-layers" in simclr.out
    for other in ("--moco.", "--bank.", "--semi.", "--cpc.", "--audio.", "--teacher"):
        assert other not in simclr.out
    assert "--moco.queue-size" in moco.out
    assert "--projector-layers" not in moco.out
    assert "--audio.window" in sound.out
    for other in ("--views.", "--cpc.", "--temperature"):
        assert other not in sound.out


def test_images_of_the_collection_are_searched_with(answers: dict[str, Answer]) -> None:
    assert answers["search by a path of the collection"].out == "1.0000\ta\n"


def test_images_to_label_are_chosen_with_labels_and_without(answers: dict[str, Answer]) -> None:
    chosen, beside = answers["images to label"], answers["images to label beside labels"]
    assert (chosen.status, beside.status) == (0, 0), chosen.err + beside.err
    assert len(chosen.out.splitlines()) == 2
    assert {line.split("\t")[0] for line in beside.out.splitlines()} == set("cdef")

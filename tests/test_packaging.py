"""What users install: three packages of ours that are whole and typed, and nothing that hides a folder of theirs."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.built import DIST_INFO, OURS, build, contents
from tests.processes import REPOSITORY

pytest.importorskip("hatchling", reason="hatchling is not installed: it is in the extra `test`")
INSTALLED_FROM = {"cpchub": "cpchub", "cpchub_training": "training/cpchub_training"}
INSTALLED_FROM |= {"cpchub_serving": "serving/cpchub_serving", "cpchub/model_cards": "model_cards"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("built") / "wheel")


def users_folder(folder: Path) -> Path:
    """A folder with packages of the user's own that are called as our folders: with `__init__.py` and without."""
    for name in ("training", "tests"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("WHOSE = 'mine'\n")
    for name in ("serving", "benchmarks"):
        (folder / name).mkdir()
        (folder / name / "whose.py").write_text("WHOSE = 'mine'\n")
    return folder


def test_the_wheel_is_whole_and_has_three_packages_of_ours_and_nothing_else(wheel: Path) -> None:
    found = contents(wheel)
    assert {name.split("/")[0] for name in found} == {*OURS, DIST_INFO}
    expected = {}
    for installed, source in INSTALLED_FROM.items():
        for path in (REPOSITORY / source).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                expected[f"{installed}/{path.relative_to(REPOSITORY / source).as_posix()}"] = path.read_bytes()
    ours = {name: data for name, data in found.items() if not name.startswith(DIST_INFO)}
    assert sorted(ours) == sorted(expected)
    assert [name for name in ours if ours[name] != expected[name]] == []
    assert {f"{name}/py.typed" for name in OURS} <= set(ours)
    assert {
        "cpchub_serving/page/style/base.css",
        "cpchub_serving/page/label/label.css",
        "cpchub_training/report/page.css",
    } <= set(ours)
    assert {"config.json", "model.safetensors", "README.md", "recipe.json", "eval.json"} <= {
        Path(name).name for name in ours if name.startswith("cpchub/model_cards/simclr-resnet18")
    }


def test_the_metadata_say_what_pip_and_an_index_need(wheel: Path) -> None:
    found = contents(wheel)
    metadata = email.message_from_bytes(found[f"{DIST_INFO}/METADATA"])
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == ("cpchub", "0.1.0", "Apache-2.0")
    assert metadata["Requires-Python"] == ">=3.10"
    assert (
        found[f"{DIST_INFO}/METADATA"].partition(b"\n\n")[2].strip() == (REPOSITORY / "README.md").read_bytes().strip()
    )
    extras = set(metadata.get_all("Provides-Extra") or ())
    assert {"cpu", "gpu", "train", "demo", "audio", "export", "scale", "map", "heif", "test", "all"} <= extras
    required = metadata.get_all("Requires-Dist") or ()
    always = {line.split(">")[0].split("<")[0].strip() for line in required if "extra ==" not in line}
    assert {"torch", "timm", "huggingface-hub", "tyro"} <= always
    assert not {"gradio", "lightning-fabric", "faiss-cpu", "hatchling"} & always
    assert f"{DIST_INFO}/licenses/LICENSE" in found
    scripts = found[f"{DIST_INFO}/entry_points.txt"].decode()
    assert scripts.split() == ["[console_scripts]", "cpchub", "=", "cpchub.cli.main:main"]


def test_in_a_folder_with_packages_of_the_same_names_both_are_found(wheel: Path, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", users_folder(tmp_path / "mine")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "simclr_digits" in python("-m", "cpchub", "train", "--list").split()
    said = python(
        "-c",
        "import cpchub, cpchub_training, cpchub_serving, training, tests, serving.whose, benchmarks.whose\n"
        "print(*(module.__path__[0] for module in (cpchub, cpchub_training, cpchub_serving)), sep='\\n')\n"
        "print(training.WHOSE, tests.WHOSE, serving.whose.WHOSE, benchmarks.whose.WHOSE)\n"
        "print(len(cpchub.list_models()))",
    )
    *places, whose, models = said.splitlines()
    assert places == [str(site / name) for name in ("cpchub", "cpchub_training", "cpchub_serving")]
    assert whose == "mine mine mine mine"
    assert int(models) >= 7

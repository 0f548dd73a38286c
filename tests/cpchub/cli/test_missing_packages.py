"""A package that is missing is said before the work that needs it at its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.cli.main import main
from cpchub.collection.import_vectors import import_vectors
from cpchub.errors import DependencyError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images and collections; no encoder is to be loaded, and nothing trained."""

    def work(*args: object, **options: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "a.png")
    for name in ("one", "two"):
        import_vectors(tmp_path / name, np.eye(2, dtype=np.float32), [f"{name}-a", f"{name}-b"])
    monkeypatch.setattr("cpchub.encoders.load.load", work)
    monkeypatch.setattr("cpchub_training.jobs.quickstart.train", work)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["index", "photos", "-o", "out"],
        ["duplicates", "photos"],
        ["outliers", "photos"],
        ["merge", "one", "two", "-o", "out"],
        ["demo", "one"],
        ["quickstart", "--out", "out"],
    ],
    ids=lambda command: command[0],
)
def test_faiss(
    command: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise DependencyError("search needs FAISS")

    monkeypatch.setattr("cpchub.index.engine.faiss_import.import_faiss", missing)
    assert main(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: search needs FAISS"
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (["export", "simclr", "-o", "a.onnx"], "onnxscript"),
        (["train", "simclr_photos", "--images", "s3://bucket/photos"], "fsspec"),
        (["train", "simclr_photos", "--images", "s3://bucket/photos"], "s3fs"),
        (["index", "s3://bucket/photos", "-o", "out"], "s3fs"),
        (["index", "gs://bucket/photos", "-o", "out"], "gcsfs"),
        (["index", "simplecache::abfs://bucket/photos", "-o", "out"], "adlfs"),
        (["train", "cpc_audio_librispeech", "--recordings", "photos"], "soundfile"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
@pytest.mark.usefixtures("here")
def test_packages_of_extras(
    command: list[str], package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("cpchub.common.extras.find_spec", lambda name: None if name == package else object())
    assert main(command) == 2
    assert f"error: {package} is not installed; run: pip install" in capsys.readouterr().err


def test_a_system_without_locks_for_folders_is_told_what_to_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["models"]) == 2
    assert "WSL 2" in capsys.readouterr().err


def test_in_python_too() -> None:
    program = "import sys; sys.modules['fcntl'] = None; import cpchub.common.files"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("cpchub.errors.DependencyError: cpchub does not run on Windows")

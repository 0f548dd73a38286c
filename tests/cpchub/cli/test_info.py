"""`cpchub info`: what is in a collection."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cpchub.cli.main import main
from cpchub.collection.import_vectors import import_vectors
from cpchub.embedding.job import embed
from cpchub.encoders.load import load
from cpchub.index import Index
from tests.cpchub.images import TinyEncoder, folder_of_images


@pytest.fixture(scope="module")
def broken(tiny_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of three images of one class, with two that could not be read, one by a name with a tab."""
    root = tmp_path_factory.mktemp("broken")
    photos = folder_of_images(root / "photos" / "cats", 3)
    for name in ("a\tb.jpg", "c.jpg"):
        (photos / name).write_bytes(b"no image")
    embed(photos.parent, root / "out", load(tiny_encoder_folder), progress=False, labels="folders")
    return root / "out"


def told(folder: Path, output: pytest.CaptureFixture[str]) -> list[list[str]]:
    output.readouterr()
    assert main(["info", str(folder)]) == 0
    return [line.split("\t") for line in output.readouterr().out.splitlines()]


def test_info_tells_images_encoder_index_failures_and_disk(
    broken: Path, tiny_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {name: values for name, *values in told(broken, capsys)}
    assert facts["images"] == [f"3 of {broken.parent / 'photos'}"]
    assert facts["classes"] == ["1: cats 3"]
    assert facts["encoder"] == [f"tiny-simclr from {tiny_encoder_folder.resolve()}, vectors of 16 numbers in float32"]
    assert facts["index"] == [f"There is none yet; build it: cpchub index {broken.parent / 'photos'} -o {broken}"]
    assert facts["failures"] == ["2"]
    assert facts["disk"][0].partition(": ")[2].startswith(tuple(path.name for path in broken.iterdir()))


def test_the_size_on_disk_is_that_of_the_collection_alone(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(broken, out)
    (out / "predictions.csv").write_bytes(bytes(50_000_000))
    (disk,) = [values[0] for name, *values in told(out, capsys) if name == "disk"]
    assert "MB" not in disk
    assert "predictions.csv" not in disk


def test_imported_vectors_are_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    import_vectors(out, np.eye(3, dtype=np.float32), ["0.jpg", "1.jpg", "2.jpg"])
    facts = {name: values for name, *values in told(out, capsys)}
    assert facts["images"] == ["3 of imported vectors"]
    assert facts["index"][0].endswith(f"build it: cpchub.Index.update(cpchub.Collection.open('{out}'))")
    assert main(["classify", str(out), "--labels", "folders"]) == 2
    assert f"no image of {out} lies in a class folder, such as cat/ (the first is 0.jpg)" in capsys.readouterr().err


def test_each_image_that_could_not_be_read_is_a_line_with_its_reason(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = [values for name, *values in told(broken, capsys) if name == "failure"]
    assert [path for path, _ in failures] == [r"cats/a\tb.jpg", "cats/c.jpg"]
    assert all(reason for _, reason in failures)


def test_the_index_is_told_in_the_words_of_its_setting_and_as_old_where_images_came_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = folder_of_images(tmp_path / "my photos", 2), tmp_path / "out"
    index = Index.build(embed(photos, out, TinyEncoder(), progress=False))
    assert ["index", index.setting.sentence()] in told(out, capsys)
    embed(folder_of_images(photos, 1, first=2), out, TinyEncoder(), progress=False)
    (said,) = [values[0] for name, *values in told(out, capsys) if name == "index"]
    assert said == f"It is of an earlier state of the collection; bring it up to date: cpchub index '{photos}' -o {out}"


def test_a_folder_that_is_no_collection_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path)]) == 2
    assert "is not a collection" in capsys.readouterr().err


def test_on_a_terminal_a_few_failures_stand_for_all(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("cpchub.cli.tables.FAILURES_SHOWN", 1)
    assert main(["info", str(broken)]) == 0
    said = capsys.readouterr().out
    assert "and 1 more, in its failures.parquet" in said
    assert "c.jpg" not in said

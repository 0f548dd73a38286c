"""Files and folders that are there complete or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cpchub.common import files
from cpchub.common.files import check_free, put_in_place, save_tensors, write_json
from cpchub.errors import OutputError, RunError


def folder_with(path: Path, **contents: str) -> Path:
    path.mkdir()
    for name, text in contents.items():
        (path / name).write_text(text)
    return path


def test_a_folder_takes_the_place_of_an_earlier_one_and_keeps_its_hidden_files(tmp_path: Path) -> None:
    earlier = folder_with(tmp_path / "out", old="1")
    (earlier / ".git").mkdir()
    scratch = folder_with(tmp_path / "scratch")
    put_in_place(folder_with(scratch / "new", new="2"), earlier)
    assert sorted(path.name for path in earlier.iterdir()) == [".git", "new"]
    assert not list(scratch.iterdir())


def test_the_earlier_folder_is_whole_until_the_new_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = folder_with(tmp_path / "out", old="1")
    scratch = folder_with(tmp_path / "scratch")
    complete = folder_with(scratch / "new", new="2")

    def killed(path: Path) -> None:
        assert (tmp_path / "out" / "new").read_text() == "2"
        assert (path / "old").read_text() == "1"
        raise KeyboardInterrupt

    monkeypatch.setattr(files.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        put_in_place(complete, earlier)
    assert (tmp_path / "out" / "new").read_text() == "2"


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    folder_with(tmp_path / "real", old="1")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="link to a folder"):
        put_in_place(folder_with(tmp_path / "new", new="2"), tmp_path / "out")
    assert (tmp_path / "real" / "old").read_text() == "1"


def test_json_is_readable_and_holds_names_that_are_not_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"author": "Hénaff"})
    assert "Hénaff" in (tmp_path / "a.json").read_text(encoding="utf-8")
    odd = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "b.json", {"folder": odd})
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8")) == {"folder": odd}


def test_tensors_are_readable_by_whoever_may_read_new_files_here(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.touch()
    for _ in range(2):  # anew, and over what is there
        save_tensors({"a": torch.arange(3)}, tmp_path / "a.safetensors", {"format": "pt"})
        assert (tmp_path / "a.safetensors").stat().st_mode == other.stat().st_mode
    assert load_file(tmp_path / "a.safetensors")["a"].tolist() == [0, 1, 2]


class TestAFolderToWriteTo:
    def test_one_that_is_new_or_empty_or_has_only_hidden_files_is_free(self, tmp_path: Path) -> None:
        check_free(tmp_path / "new")
        check_free(tmp_path)
        (tmp_path / ".DS_Store").touch()
        check_free(tmp_path)

    def test_known_names_do_not_stand_in_the_way_and_one_other_does(self, tmp_path: Path) -> None:
        folder = folder_with(tmp_path / "out", a="", b="")
        check_free(folder, known=("a", "b", "c"))
        with pytest.raises(OutputError, match=r"exists with other content \(b\); choose a new folder"):
            check_free(folder, known=("a",))

    def test_three_names_are_shown_and_the_error_is_the_callers(self, tmp_path: Path) -> None:
        folder = folder_with(tmp_path / "out", d="", c="", b="", a="")
        with pytest.raises(RunError, match=r"\(a, b, c, \.\.\.\); choose another --out"):
            check_free(folder, way_out="choose another --out", error=RunError)

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "out").touch()
        with pytest.raises(OutputError, match="is a file; choose a new folder"):
            check_free(tmp_path / "out")

    def test_each_writer_of_a_folder_leaves_what_is_not_its_own(self, tmp_path: Path) -> None:
        """The places that had a check of their own, by the sentence that is one now."""
        from cpchub.collection.import_vectors import import_vectors
        from cpchub.embedding.claim import check_is_ours
        from cpchub.hub.release_plan import check_holds_a_release

        folder = folder_with(tmp_path / "out", novel="chapter 1")
        for refused in (
            lambda: import_vectors(folder, [[1.0, 0.0]], ["a.png"]),
            lambda: check_is_ours(folder),
            lambda: check_holds_a_release(folder),
        ):
            with pytest.raises(OutputError, match=r"other content \(novel\)"):
                refused()
        assert (folder / "novel").read_text() == "chapter 1"

"""Marks are kept in the collection, survive a restart and other writers, and overwrite no file of somebody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub.errors import CollectionError, OutputError
from cpchub_serving.visit.marks import FILE, KEEP, REMOVE, Mark, Marks, as_csv

GONE, KEPT = Mark(REMOVE, "copy of a.jpg"), Mark(KEEP)


def test_marks_are_there_after_a_restart(tmp_path: Path) -> None:
    Marks(tmp_path).change({"b, c.jpg": GONE, "a.jpg": KEPT})
    assert Marks(tmp_path).now() == {"b, c.jpg": GONE, "a.jpg": KEPT}
    assert (tmp_path / FILE).read_text() == 'path,mark,reason\na.jpg,keep,\n"b, c.jpg",remove,copy of a.jpg\n'


def test_two_pages_on_one_collection_lose_no_mark_of_each_other(tmp_path: Path) -> None:
    one, other = Marks(tmp_path), Marks(tmp_path)
    one.change({"a": GONE})
    other.change({"b": KEPT})
    one.change({"c": KEPT, "a": None})
    assert one.now() == other.now() == {"b": KEPT, "c": KEPT}


def test_a_step_is_undone_as_far_as_nobody_has_said_something_else(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.change({"a": KEPT})
    step = marks.change({"a": GONE, "b": GONE, "c": GONE})
    marks.change({"b": KEPT})
    assert marks.undo(step)
    assert marks.now() == {"a": KEPT, "b": KEPT}
    assert not marks.undo(step)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path;mark\n", "has the columns path;mark"),
        ("path,mark,reason\na,delete,\n", "a,delete,"),
        ("", "columns none"),
    ],
)
def test_a_file_that_is_something_else_is_refused_and_left_as_it_is(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(CollectionError, match=said):
        Marks(tmp_path).change({"a": GONE})
    assert (tmp_path / FILE).read_text() == content


def test_what_cannot_be_saved_is_not_taken_for_said_and_names_no_place(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "gone")
    with pytest.raises(OutputError, match=r"^the mark was not saved: No such file or directory$"):
        marks.change({"a": GONE})
    assert marks.now() == {}


def test_names_that_are_not_utf8_are_kept_byte_for_byte(tmp_path: Path) -> None:
    name = b"f\xfcr.jpg".decode("utf-8", "surrogateescape")
    Marks(tmp_path).change({name: GONE})
    assert Marks(tmp_path).now() == {name: GONE}
    assert as_csv({name: GONE}).encode("utf-8", "surrogateescape") in (tmp_path / FILE).read_bytes()

"""Pieces kept in packs: they come back whole or not at all, whoever wrote them and however that ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub.common import packs as module
from cpchub.common.packs import INDEX, PACK, RECORD, Packs, keys_of

KEYS = keys_of(["a", "b", "c"])


@pytest.fixture(autouse=True)
def look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """At what other processes have written."""
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.0)


def packs(folder: Path, names: str = "abc", room: bool = True) -> Packs:
    return Packs(folder, keys_of(list(names)), lambda number: room)


def test_a_piece_comes_back_also_to_others_and_by_its_key_whatever_its_number(tmp_path: Path) -> None:
    one, two = packs(tmp_path), packs(tmp_path)
    assert one.get(0) is None
    one.put(0, b"first")
    two.put(2, b"third")
    assert [one.get(0), one.get(1), one.get(2)] == [b"first", None, b"third"]
    assert [two.get(0), two.get(1), two.get(2)] == [b"first", None, b"third"]
    other_order = packs(tmp_path, "xca")
    assert [other_order.get(number) for number in range(3)] == [None, b"third", b"first"]


def test_what_is_written_while_another_reads_is_found_at_its_next_look(tmp_path: Path) -> None:
    writer, reader = packs(tmp_path), packs(tmp_path)
    writer.put(0, b"first")
    assert reader.get(0) == b"first"
    writer.put(1, b"second")
    assert reader.get(1) == b"second"


def test_a_piece_that_was_written_in_part_or_has_changed_counts_as_not_there(tmp_path: Path) -> None:
    writer = packs(tmp_path)
    for number, piece in enumerate((b"first", b"second", b"third")):
        writer.put(number, piece)
    (pack,) = tmp_path.glob(f"*{PACK}")
    (index,) = tmp_path.glob(f"*{INDEX}")
    pack.write_bytes(b"first" + b"sEcond" + b"thi")
    index.write_bytes(index.read_bytes() + bytes(RECORD.itemsize - 1))  # killed in the middle of a record
    reader = packs(tmp_path)
    assert [reader.get(number) for number in range(3)] == [b"first", None, None]
    reader.put(1, b"second")
    assert packs(tmp_path).get(1) == b"second" or reader.get(1) == b"second"


def test_nothing_is_written_without_room(tmp_path: Path) -> None:
    full = packs(tmp_path, room=False)
    full.put(0, b"first")
    assert full.get(0) is None
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_removed_meanwhile_is_no_error_to_those_who_read(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    folder.mkdir()
    one, two = packs(folder), packs(folder)
    one.put(0, b"first")
    assert two.get(0) == b"first"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert two.get(0) == b"first"  # open files can be read on
    assert two.get(1) is None
    with pytest.raises(OSError, match=r"entry"):
        two.put(1, b"second")

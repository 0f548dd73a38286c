"""Kept folders are whole or absent, made once, and go when they are too large together."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cpchub.common.kept import LOCK, MAKING, Kept, own_cache
from cpchub.errors import OutputError


def of_bytes(count: int) -> object:
    return lambda folder: (folder / "data").write_bytes(bytes(count))


def names(kept: Kept) -> list[str]:
    return sorted(entry.folder.name for entry in kept.entries())


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "cache", 100)


def used_at(kept: Kept, name: str, seconds: float) -> None:
    os.utime(kept.folder / name, (seconds, seconds))


def test_an_entry_is_made_once_and_found_again(kept: Kept) -> None:
    assert kept.find("a") is None
    made = kept.make("a", of_bytes(7))
    assert kept.find("a") == made == kept.make("a", lambda folder: pytest.fail("made again"))
    assert [entry.bytes for entry in kept.entries()] == [7]


def test_what_fails_while_it_is_made_leaves_nothing(kept: Kept) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").write_bytes(b"1")
        raise RuntimeError("no such operator")

    with pytest.raises(RuntimeError, match="no such operator"):
        kept.make("a", fails)
    assert [path.name for path in kept.folder.iterdir()] == [LOCK]


def test_several_that_need_an_entry_at_once_make_it_once(kept: Kept) -> None:
    made, begin = [], threading.Barrier(4)

    def fill(folder: Path) -> None:
        made.append(folder)
        (folder / "data").write_bytes(b"1")

    def need(_: int) -> Path:
        begin.wait()
        return kept.make("a", fill)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(need, range(4))) == {kept.folder / "a"}
    assert len(made) == 1


def test_over_the_limit_the_entry_that_was_not_used_for_the_longest_time_goes(kept: Kept) -> None:
    for number, name in enumerate("abc"):
        kept.make(name, of_bytes(40)) if name != "c" else None
        if name != "c":
            used_at(kept, name, 1000 + number)
    kept.find("a")  # used now
    kept.make("c", of_bytes(40))
    assert names(kept) == ["a", "c"]


def test_an_entry_larger_than_the_limit_serves_the_job_that_made_it_and_goes_with_the_next(kept: Kept) -> None:
    kept.make("large", of_bytes(500))
    assert names(kept) == ["large"]
    used_at(kept, "large", 1000)
    kept.make("a", of_bytes(1))
    assert names(kept) == ["a"]


def test_what_a_killed_process_has_left_is_removed(kept: Kept) -> None:
    left = kept.folder / f"{MAKING}left"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"1")
    kept.make("a", of_bytes(1))
    assert not left.exists()


def test_an_entry_that_is_dropped_can_be_read_by_whoever_has_it_open(kept: Kept) -> None:
    with (kept.make("a", of_bytes(3)) / "data").open("rb") as file:
        kept.drop("a")
        assert file.read() == bytes(3)
    assert kept.find("a") is None
    kept.drop("a")  # once more is no error


def test_clearing_removes_every_entry_and_says_which(kept: Kept) -> None:
    assert kept.clear() == []
    for name in "ab":
        kept.make(name, of_bytes(5))
    assert sum(entry.bytes for entry in kept.clear()) == 10
    assert names(kept) == []


def test_a_cache_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        Kept(tmp_path / "file", 100).make("a", of_bytes(1))


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPCHUB_CACHE", "/somewhere")
    assert own_cache("networks") == Path("/somewhere/networks")
    monkeypatch.delenv("CPCHUB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/else")
    assert own_cache("networks") == Path("/else/cpchub/networks")

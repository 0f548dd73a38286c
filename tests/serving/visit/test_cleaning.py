"""What may be wrong with images is found once, kept, and marked; the page that is shown stays as it is meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.embedding.job import embed
from cpchub.errors import QueryError
from cpchub.index import Index
from cpchub_serving.visit import checks
from cpchub_serving.visit.cleaning import BROKEN, DUPLICATES, MARKED, OUTLIERS, Cleaner, Cleaning
from cpchub_serving.visit.marks import KEEP, REMOVE
from tests.cpchub.images import TinyEncoder, an_image, save
from tests.processes import PATIENCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of 12 images, of which 0 has two copies and a smaller one and 1 has a copy, and of a broken file."""
    images = tmp_path_factory.mktemp("cleaning") / "images"
    images.mkdir()
    for number in range(12):
        save(an_image(number, (48, 40)), images / f"{number:02}.png")
    for name, source in (("00-copy", 0), ("00-again", 0), ("01-copy", 1)):
        (images / f"{name}.png").write_bytes((images / f"{source:02}.png").read_bytes())
    an_image(0, (48, 40)).resize((24, 20)).save(images / "00-small.png")
    (images / "broken.png").write_bytes(b"not an image")
    out = images.parent / "collection"
    Index.build(embed(images, out, TinyEncoder(), progress=False))
    return out


@pytest.fixture
def cleaner(folder: Path) -> Cleaner:
    (folder / "marks.csv").unlink(missing_ok=True)
    cleaner = Cleaner(Index.open(folder))
    cleaner.checks.open()
    cleaner.checks.job.wait(PATIENCE)
    assert cleaner.checks.job.progress.state == "done"
    return cleaner


def names(cleaner: Cleaner, place: int) -> list[str]:
    return [cleaner.paths[each.row] for each in cleaner.group(place)]


def said(cleaner: Cleaner) -> dict[str, str]:
    return {path: mark.say for path, mark in cleaner.marks.now().items()}


def test_groups_begin_with_the_best_image_and_tell_copies_from_near_ones(cleaner: Cleaner) -> None:
    assert set(names(cleaner, 0)) == {"00.png", "00-copy.png", "00-again.png", "00-small.png"}
    assert {cleaner.paths[each.row]: each.same for each in cleaner.group(0)}["00-small.png"] is False
    assert sum(each.same for each in cleaner.group(0)) == 3
    assert set(names(cleaner, 1)) == {"01.png", "01-copy.png"}
    assert [path for path, _ in cleaner.checks.broken] == ["broken.png"]
    assert float(cleaner.checks.found.near) < 1


def test_what_was_found_is_read_the_next_time_and_found_again_after_a_change(
    cleaner: Cleaner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []
    real = checks.find_duplicates
    monkeypatch.setattr(
        checks, "find_duplicates", lambda *args, **options: searched.append(1) or real(*args, **options)
    )

    def found_again() -> checks.Found:
        again = checks.Checks(Index.open(folder))
        again.open()
        again.job.wait(PATIENCE)
        assert again.found is not None
        return again.found

    assert found_again() == cleaner.checks.found
    assert searched == []
    kept = folder / "clean" / "outliers.parquet"
    kept.write_bytes(b"damaged")
    assert found_again() == cleaner.checks.found
    assert searched == [1]


def test_keeping_the_best_marks_the_others_with_the_reason(cleaner: Cleaner) -> None:
    state = Cleaning()
    cleaner.turn(state)
    cleaner.keep_first(state, "0")
    best, *others = names(cleaner, 0)
    assert said(cleaner) == {best: KEEP, **dict.fromkeys(others, REMOVE)}
    reasons = {path: mark.reason for path, mark in cleaner.marks.now().items()}
    assert reasons["00-small.png"] == f"near-duplicate of {best}"
    assert cleaner.sizes(DUPLICATES) == (2, 1)
    assert cleaner.to_remove() == 3
    assert cleaner.undo(state)
    assert said(cleaner) == {}
    assert not cleaner.undo(state)


def test_all_copies_are_marked_and_near_ones_are_left_to_a_person(cleaner: Cleaner) -> None:
    state = Cleaning()
    cleaner.remove_copies(state)
    assert said(cleaner)["01-copy.png" if names(cleaner, 1)[0] == "01.png" else "01.png"] == REMOVE
    assert "00-small.png" not in said(cleaner)
    assert sorted(said(cleaner).values()) == [KEEP, KEEP, REMOVE, REMOVE, REMOVE]
    cleaner.remove_copies(state)
    assert len(state.steps) == 1  # nothing was left to say


def test_a_click_marks_an_image_and_the_next_one_takes_the_mark_away(cleaner: Cleaner) -> None:
    state = Cleaning()
    cleaner.turn(state)
    row = cleaner.group(1)[1].row
    cleaner.toggle(state, str(row))
    assert said(cleaner) == {cleaner.paths[row]: REMOVE}
    assert cleaner.marks.now()[cleaner.paths[row]].reason == f"like {names(cleaner, 1)[0]}"
    cleaner.toggle(state, row)
    assert said(cleaner) == {}
    cleaner.keep_all(state, 1)
    assert said(cleaner) == dict.fromkeys(names(cleaner, 1), KEEP)


def test_a_page_stays_as_it_is_until_another_is_asked_for(cleaner: Cleaner) -> None:
    state = Cleaning()
    cleaner.turn(state)
    assert (state.places, state.total) == ([0, 1], 2)
    cleaner.keep_all(state, 0)
    assert state.places == [0, 1]
    cleaner.turn(state)
    assert state.places == [1]
    cleaner.turn(state, shown=MARKED)
    assert state.places == [0]
    cleaner.turn(state, queue=OUTLIERS)
    assert state.page == 0


def test_broken_files_are_marked_with_what_is_wrong(cleaner: Cleaner) -> None:
    state = Cleaning()
    cleaner.turn(state, queue=BROKEN)
    assert state.places == [0]
    cleaner.toggle_broken(state, "0")
    assert cleaner.marks.now()["broken.png"].reason.startswith("cannot be read: ")
    cleaner.toggle_broken(state, "0")
    assert said(cleaner) == {}


def test_what_is_not_there_is_refused(cleaner: Cleaner) -> None:
    state = Cleaning()
    for wrong in (
        lambda: cleaner.turn(state, queue="files of others"),
        lambda: cleaner.group("7"),
        lambda: cleaner.toggle(state, "-1"),
        lambda: cleaner.toggle_broken(state, "../x"),
    ):
        with pytest.raises(QueryError):
            wrong()


def test_a_collection_of_one_image_has_no_duplicates(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    cleaner = Cleaner(Index.build(embed(tmp_path / "images", tmp_path / "out", TinyEncoder(), progress=False)))
    cleaner.checks.open()
    cleaner.checks.job.wait(PATIENCE)
    assert cleaner.sizes(DUPLICATES) == (0, 0)

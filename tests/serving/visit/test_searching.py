"""Queries of a link: read, refused, and answered with the images that are nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cpchub.errors import BrokenImageError, QueryError
from cpchub_serving.visit import searching
from cpchub_serving.visit import uploads as uploading
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.query import DEFAULT, MOST, MOST_PARTS, Part, Query
from cpchub_serving.visit.rows import mixed_order
from cpchub_serving.visit.searching import Searches
from cpchub_serving.visit.uploads import Uploads


@pytest.fixture
def searches(served) -> Searches:
    finder = Finder(served.index, served.encoder)
    return Searches(finder, Uploads(finder))


def file_of(searches: Searches, row: int) -> Path:
    return searches.finder.index.collection.path_of(row)


def test_a_link_is_read_and_written_the_same() -> None:
    query = Query.read("id:5", ["id:7*0.5"], ["id:9", "upload:00ff*2"], " label == 'cat' ", 24)
    assert [str(part) for part in query.parts] == ["id:5", "id:7*0.5", "id:9", "upload:00ff*2"]
    assert [part.weight for part in query.parts] == [1, 0.5, -1, -2]
    assert (query.where, query.k) == ("label == 'cat'", 24)
    assert Query.read(k=-3).k == DEFAULT
    assert Query.read(k=10**9).k == MOST


@pytest.mark.parametrize("text", ["5", "id:", "id:-1", "id:x", "id:ff", "row:5", "upload:../x", "id:5*", "id:5*nan"])
def test_a_part_that_is_no_image_is_refused_in_words(text: str) -> None:
    with pytest.raises(QueryError, match="id:42"):
        Part.read(text)


def test_too_many_images_and_too_long_a_filter_are_refused() -> None:
    with pytest.raises(QueryError, match="At most"):
        Query.read(plus=["id:1"] * MOST_PARTS)
    with pytest.raises(QueryError, match="characters"):
        Query.read(where="x" * 10_000)


def test_an_image_of_the_collection_finds_the_others_best_first(searches: Searches) -> None:
    found = searches.answer(Query.read("id:3", k=10))
    expected = searches.finder.by_row(3, 10).neighbours
    assert found.rows.tolist() == [each.row for each in expected]
    assert found.scores is not None
    assert found.scores.tolist() == pytest.approx([each.score for each in expected])
    assert found.fitting == 60


def test_images_are_added_and_subtracted_with_their_weights_and_are_no_results_themselves(searches: Searches) -> None:
    found = searches.answer(Query.read("id:3", ["id:25*0.5"], ["id:45"], k=100))
    vectors = np.asarray(searches.finder.features, np.float64)
    direction = vectors[3] + 0.5 * vectors[25] - vectors[45]
    cosines = vectors @ (direction / np.linalg.norm(direction))
    cosines[[3, 25, 45]] = -2
    assert found.rows.tolist() == np.argsort(-cosines)[:57].tolist()
    assert found.scores == pytest.approx(cosines[found.rows], abs=1e-5)


def test_an_upload_is_a_part_of_a_query_and_finds_itself(searches: Searches) -> None:
    token = searches.uploads.add(file_of(searches, 7).read_bytes(), "7.png")
    found = searches.answer(Query.read(f"upload:{token}", k=5))
    assert found.rows[0] == 7
    assert found.scores is not None
    assert found.scores[0] >= 0.999


def test_only_images_that_fit_the_filter_are_found(searches: Searches) -> None:
    found = searches.answer(Query.read("id:3", where="label == 'red'"))
    assert found.fitting == 20
    assert len(found.rows) == 20
    assert all(searches.finder.paths[row].startswith("red/") for row in found.rows)


def test_without_a_query_the_collection_is_shown_in_a_mixed_order(searches: Searches) -> None:
    assert searches.answer(Query()).rows.tolist() == mixed_order(60).tolist()
    some = searches.answer(Query.read(where="label == 'red'"))
    assert some.rows.tolist() == [row for row in mixed_order(60) if searches.finder.paths[row].startswith("red/")]
    assert some.scores is None
    assert [group.first for group in some.page(18, 48)] == [18, 19]


def test_more_results_are_searched_for_when_more_are_looked_at(
    searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "STEPS", (8, 40))
    monkeypatch.setattr(Searches, "alike_from", 0.9999)
    asked = Query.read("id:3", k=40)
    few, many = searches.answer(asked, 5), searches.answer(asked, 20)
    assert (len(few.rows), len(many.rows)) == (8, 40)
    assert many.rows[:8].tolist() == few.rows.tolist()
    assert searches.answer(asked, 5) is few  # the answer is kept
    assert len(searches.answer(Query.read("id:3", k=6), 20).rows) == 6


def test_near_duplicates_are_folded_and_count_as_one_tile(searches: Searches, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = searches.answer(Query.read("id:3", k=30))
    monkeypatch.setattr(Searches, "alike_from", -1)  # everything is like everything
    again = Searches(searches.finder, searches.uploads)
    found = again.answer(Query.read("id:3", k=30))
    assert found.drawn == 1
    assert found.page(0, 48)[0].others == list(range(1, 30))
    assert again.rows_of(Query.read("id:3", k=30))[0].tolist() == plain.rows.tolist()


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"q": "id:3", "minus": ["id:3"]}, "cancel each other out"),
        ({"q": "id:999"}, "no image with id 999"),
        ({"q": f"id:{10**30}"}, "no image with id"),
        ({"q": f"upload:{'0' * 32}"}, "no longer kept"),
        ({"q": "id:3", "where": "colour == 'red'"}, "no column 'colour'"),
        ({"where": "label = 'red'"}, "not understood"),
        ({"where": "width == 'red'"}, "cannot be computed"),
    ],
)
def test_what_cannot_be_answered_is_refused_without_naming_a_place_of_the_machine(
    searches: Searches, link: dict[str, object], said: str
) -> None:
    with pytest.raises(QueryError, match=said) as refused:
        searches.answer(Query.read(**link))  # type: ignore[arg-type]
    assert str(searches.finder.index.collection.folder) not in str(refused.value)


def test_the_newest_uploads_are_kept_and_the_same_file_has_the_same_token(searches: Searches) -> None:
    uploads = Uploads(searches.finder, most=2)
    first, second, third = (file_of(searches, row).read_bytes() for row in (1, 2, 3))
    token = uploads.add(first, "1.png")
    other = uploads.add(second, "2.png")
    assert uploads.add(first, "1.png") == token
    uploads.add(third, "3.png")
    uploads.get(token)  # asked for since, so the other one had to go
    with pytest.raises(QueryError, match="upload it again"):
        uploads.get(other)


def test_a_visitor_never_sees_how_another_one_called_the_same_image(searches: Searches) -> None:
    data = file_of(searches, 1).read_bytes()
    for name in ("secret.png", "mine.png"):
        assert searches.uploads.get(searches.uploads.add(data, name)).name == name


def test_what_is_no_image_and_what_has_too_many_pixels_is_not_kept(
    searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BrokenImageError):
        searches.uploads.add(b"<html>", "page.html")
    monkeypatch.setattr(uploading, "MOST_PIXELS", 160 * 120 - 1)
    with pytest.raises(QueryError, match="160 x 120 pixels"):
        searches.uploads.add(file_of(searches, 1).read_bytes(), "1.png")

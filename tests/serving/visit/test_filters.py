"""Filters: what a click makes of their text, and the values and ranges that are offered, with counts."""

from __future__ import annotations

import pyarrow as pa
import pytest

from cpchub.index.where import rows_where
from cpchub_serving.visit.facets import BINS, Choices, Range, facets_of
from cpchub_serving.visit.filters import FOLDER, Between, Chosen, conditions, narrowed, toggled

ITEMS = pa.table(
    {
        "id": pa.array(range(8), pa.int64()),
        "path": ["cats/0.jpg", "cats/1.jpg", "cats/2.jpg", "dogs/3.jpg", "dogs/4.jpg", "5.jpg", "6.jpg", "7.jpg"],
        "width": pa.array([100, 200, 300, 400, 500, 600, 700, None], pa.int32()),
        "height": pa.array([100] * 8, pa.int32()),
        "label": ["it's", "it's", "it's", "dog", "dog", None, None, None],
        "sharp": [True, False, None, True, True, True, True, True],
        "caption": list("abcdefgh"),
        "not a name": ["a", "a", "a", "a", "b", "b", "b", "b"],
        "score": [0.5, float("nan"), 1.5, 2.5, 2.5, 2.5, 2.5, 2.5],
    }
)


def rows(where: str) -> list[int]:
    return rows_where(ITEMS, where).nonzero()[0].tolist()


def test_a_value_is_added_to_the_filter_and_taken_away_again() -> None:
    one = toggled("", "label", "it's")
    two = toggled(one, "label", None)
    assert rows(one) == [0, 1, 2]
    assert rows(two) == [0, 1, 2, 5, 6, 7]
    assert toggled(two, "label", None) == one
    assert toggled(one, "label", "it's") == ""
    assert rows(toggled("", "label", None)) == [5, 6, 7]


def test_folders_are_beginnings_of_paths() -> None:
    one = toggled("width >= 200", FOLDER, "cats/")
    both = toggled(one, FOLDER, "dogs/")
    assert rows(one) == [1, 2]
    assert rows(both) == [1, 2, 3, 4]
    assert toggled(both, FOLDER, "dogs/") == one


def test_true_and_false_are_values_and_are_not_one_and_nought() -> None:
    assert rows(toggled("", "sharp", False)) == [1]
    assert rows(toggled(toggled("", "sharp", False), "sharp", None)) == [1, 2]
    assert conditions("not sharp") == {"sharp": Chosen("sharp", (False,))}
    assert toggled("sharp", "sharp", True) == ""
    assert toggled("score == 1", "score", True) == "score in (1, True)"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(200, None, [1, 2, 3, 4, 5, 6]), (None, 300, [0, 1, 2]), (200.5, 400, [2, 3]), (None, None, list(range(8)))],
)
def test_a_range_takes_the_place_of_the_one_before(low: float | None, high: float | None, expected: list[int]) -> None:
    where = narrowed("1 <= width <= 2", "width", low, high)
    assert rows(where or "id >= 0") == expected
    if where:
        assert conditions(where) == {"width": Between("width", low, high)}


def test_a_condition_that_is_not_of_one_column_stays_as_it_is_written() -> None:
    where = toggled("width < height or id == 3", "label", "dog")
    assert where == "(width < height or id == 3) and label == 'dog'"
    assert toggled(where, "label", "dog") == "width < height or id == 3"


def test_a_filter_that_is_no_filter_gives_way_to_what_is_clicked() -> None:
    assert toggled("label = = 'x'", "label", "dog") == "label == 'dog'"
    assert conditions("label = = 'x'") == {}


def test_the_values_of_a_column_are_offered_with_their_counts_the_most_frequent_first() -> None:
    facets = {facet.column: facet for facet in facets_of(ITEMS)}
    assert list(facets) == [FOLDER, "width", "label", "sharp", "score"]  # not: constant, all different, no identifier
    label = facets["label"]
    assert isinstance(label, Choices)
    assert [(each.value, each.count) for each in label.values] == [(None, 3), ("it's", 3), ("dog", 2)]
    folder = facets[FOLDER]
    assert isinstance(folder, Choices)
    assert [(each.value, each.count) for each in folder.values] == [("cats/", 3), ("dogs/", 2)]


def test_each_offered_value_finds_as_many_images_as_its_count_says() -> None:
    for facet in facets_of(ITEMS):
        if isinstance(facet, Choices):
            for each in facet.values:
                assert len(rows(toggled("", facet.column, each.value))) == each.count


def test_the_range_of_a_column_is_that_of_its_finite_numbers() -> None:
    facets = {facet.column: facet for facet in facets_of(ITEMS)}
    width, score = facets["width"], facets["score"]
    assert isinstance(width, Range)
    assert isinstance(score, Range)
    assert (width.low, width.high, width.whole) == (100, 700, True)
    assert (score.low, score.high, score.whole) == (0.5, 2.5, False)
    assert (len(score.bins), sum(width.bins), sum(score.bins)) == (BINS, 7, 7)

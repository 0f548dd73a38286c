"""Words of sentences."""

from __future__ import annotations

import pytest

from cpchub.common.words import counted, listed, shares, size


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 bytes"),
        (812, "812 bytes"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (45e6, "45 MB"),
        (1.34e12, "1.3 TB"),
        (2.5e9, "2.5 GB"),
    ],
)
def test_a_size_is_in_the_largest_unit_of_which_it_is_one(number: float, words: str) -> None:
    assert size(number) == words


def test_numbers_and_lists_read_as_in_a_sentence() -> None:
    assert [counted(number, "image") for number in (0, 1, 2000)] == ["0 images", "1 image", "2,000 images"]
    assert [listed("abc"[:count]) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_of_many_shares_the_most_are_named() -> None:
    assert shares({"dog": 3, "cat": 12, "cow": 1, "hen": 2}, shown=2) == "cat 12, dog 3, others 3"
    assert shares({"dog": 3, "cat": 12}, shown=2) == "cat 12, dog 3"

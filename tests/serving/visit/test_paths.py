"""Typing a path: found, offered, or answered with what is nearest."""

from __future__ import annotations

import pytest

from cpchub.errors import QueryError
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.paths import OFFERED, Paths


@pytest.fixture
def paths(served) -> Paths:
    return Paths(Finder(served.index, served.encoder))


@pytest.mark.parametrize("text", ["red/red-03.png", " red/red-03.png ", "red-03", "RED-03.PNG"])
def test_a_path_or_a_part_that_no_other_has_finds_its_image(paths: Paths, served, text: str) -> None:
    assert served.index.collection.paths[paths.row_of(text)] == "red/red-03.png"


def test_a_path_of_the_machine_below_the_folder_of_the_collection_finds_its_image(paths: Paths, served) -> None:
    assert (
        served.index.collection.paths[paths.row_of(str(served.images / "blue" / "blue-07.png"))] == "blue/blue-07.png"
    )


def test_an_id_finds_its_image(paths: Paths, served) -> None:
    assert paths.row_of("id:42") == served.index.row_of(42)
    with pytest.raises(QueryError, match="no image with id 4200") as refused:
        paths.row_of("id:4200")
    assert str(served.index.collection.folder) not in str(refused.value)


def test_a_part_of_many_paths_is_answered_by_their_number(paths: Paths) -> None:
    with pytest.raises(QueryError, match="20 paths"):
        paths.row_of("green")


@pytest.mark.parametrize("text", ["", "   ", "red/red-99.png", "id:x"])
def test_what_names_no_image_is_refused_in_words(paths: Paths, text: str) -> None:
    with pytest.raises(QueryError):
        paths.row_of(text)


def test_paths_are_offered_while_one_types(paths: Paths) -> None:
    assert paths.offered("red-0") == [f"red/red-0{number}.png" for number in range(OFFERED)]
    assert paths.offered("blue/blue-1")[0] == "blue/blue-10.png"
    assert paths.offered("") == []


def test_where_no_path_has_the_text_the_nearest_are_offered(paths: Paths) -> None:
    assert "red/red-03.png" in paths.offered("rad/red-03.pmg")
    assert "green/green-11.png" in paths.offered("gren-11.png")
    assert paths.offered("purple/green-11") == ["green/green-11.png"]
    assert paths.offered("zzzzzzz") == []

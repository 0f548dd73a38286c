"""Queries: an image or a row in, neighbours with scores and times out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.encoders.load import load
from cpchub.errors import BrokenImageError, EncoderMismatchError, QueryError
from cpchub.index import Index
from cpchub_serving.visit.finder import Finder
from tests.tiny_encoder import export_tiny


@pytest.fixture
def finder(served) -> Finder:
    return Finder(served.index, served.encoder)


def test_an_uploaded_image_of_the_collection_finds_itself_first(finder: Finder, served) -> None:
    vector = finder.vector_of((served.images / finder.paths[7]).read_bytes())
    answer = finder.nearest(vector, 5)
    assert answer.neighbours[0].row == 7
    assert answer.neighbours[0].score >= 0.999


def test_a_copy_rotated_by_exif_finds_the_upright_one(finder: Finder, served, tmp_path: Path) -> None:
    upright = Image.open(served.images / finder.paths[7])
    exif = Image.Exif()
    exif[274] = 6  # shown turned by 90 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    vector = finder.vector_of((tmp_path / "turned.png").read_bytes())
    assert finder.nearest(vector, 1).neighbours[0].row == 7


def test_neighbours_of_a_row_leave_the_row_itself_out_and_come_best_first(finder: Finder) -> None:
    answer = finder.by_row(3, 10)
    scores = [neighbour.score for neighbour in answer.neighbours]
    assert len(scores) == 10
    assert 3 not in [neighbour.row for neighbour in answer.neighbours]
    assert scores == sorted(scores, reverse=True)


def test_more_neighbours_than_images_gives_all_the_others(finder: Finder) -> None:
    assert len(finder.by_row(0, 1000).neighbours) == finder.count - 1


@pytest.mark.parametrize(("row", "k"), [(-1, 5), (10**6, 5), (0, 0)])
def test_a_row_or_number_that_cannot_be_answered_is_refused(finder: Finder, row: int, k: int) -> None:
    with pytest.raises(QueryError):
        finder.by_row(row, k)


def test_what_is_no_image_is_refused_in_words(finder: Finder) -> None:
    with pytest.raises(BrokenImageError, match="not an image"):
        finder.vector_of(b"not an image")


def test_another_encoder_is_refused(served, tmp_path: Path) -> None:
    other = load(export_tiny(tmp_path / "other", seed=1, name="other-encoder"))
    with pytest.raises(EncoderMismatchError, match="other-encoder"):
        Finder(served.index, other)


def test_the_vectors_of_the_index_serve_and_no_copy_is_made(served) -> None:
    finder = Finder(Index.open(served.index.collection.folder), served.encoder)
    assert np.shares_memory(finder.features, finder.index.vectors)
    assert "_vectors" not in vars(finder.index.collection)  # where `vectors()` keeps what it has read


def test_how_the_index_searches_is_said_in_plain_words(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finder.how == "Compared with all 60 images"
    monkeypatch.setitem(finder.index.collection.manifest, "search", {"exact": False, "recall": 0.953})
    assert finder.how == "Searched 60 images; about 95% of the nearest are found"


def test_the_typical_score_is_the_median_of_pairs_of_different_images(finder: Finder) -> None:
    cosines = np.asarray(finder.features, np.float64) @ np.asarray(finder.features, np.float64).T
    pairs = cosines[~np.eye(finder.count, dtype=bool)]
    assert np.quantile(pairs, 0.4) <= finder.typical_score <= np.quantile(pairs, 0.6)
    assert finder.typical_score < 1

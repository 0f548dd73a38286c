"""Columns of Arrow as numpy and Python see them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cpchub.common.columns import Texts, numbers, taken


def test_numbers_of_one_chunk_are_its_own_memory_and_those_of_several_are_joined() -> None:
    one, several = pa.chunked_array([[3, 1, 2]]), pa.chunked_array([[3, 1], [], [2]])
    assert numbers(one).tolist() == numbers(several).tolist() == [3, 1, 2]
    assert numbers(one).__array_interface__["data"][0] == one.chunk(0).buffers()[1].address
    assert numbers(pa.chunked_array([], pa.int64())).tolist() == []


def test_rows_are_taken_in_the_order_asked_for() -> None:
    table = pa.table({"path": ["a", "b", "c"], "id": [1, 2, 3]})
    assert taken(table, np.array([2, 0, 2])).to_pylist() == [
        {"path": "c", "id": 3}, {"path": "a", "id": 1}, {"path": "c", "id": 3},
    ]  # fmt: skip
    assert taken(table, np.arange(3)[::2])["id"].to_pylist() == [1, 3]


def test_texts_are_a_sequence() -> None:
    texts = Texts(pa.chunked_array([["a", "b"], ["c"]]))
    assert (len(texts), list(texts), texts[2], texts[-1]) == (3, ["a", "b", "c"], "c", "c")
    assert (texts[1:], texts[::2], texts[5:], "b" in texts, texts.index("c")) == (["b", "c"], ["a", "c"], [], True, 2)
    assert texts[np.int64(1)] == "b"
    with pytest.raises(IndexError, match="no text 3 of 3"):
        texts[3]

"""A filter finds in Milvus what it finds in the items, or is left to the items."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cpchub.index.milvus.expression import milvus_expression
from cpchub.index.milvus.fields import fields_of
from cpchub.index.milvus.plans import MilvusPlan
from cpchub.index.milvus.store import MilvusStore
from cpchub.index.place import Place, parsed
from cpchub.index.where import parsed as parsed_filter
from cpchub.index.where import rows_where

TEXTS = ["a_b", "axb", 'q"uo"te', "it's", "back\\slash", "per%cent", "uni→ü", "new\nline", "", "100", "IMG_1.jpg"]
N = 90


def made() -> pa.Table:
    """Items with every kind of column, empty fields, and texts that have to be quoted."""
    draw = random.Random(0)

    def some(values: list, empty: float = 0.25) -> list:
        return [None if draw.random() < empty else draw.choice(values) for _ in range(N)]

    return pa.table(
        {
            "id": range(N),
            "path": [f"{draw.choice(TEXTS)}{i}" for i in range(N)],
            "label": some(TEXTS),
            "width": pa.array(some([0, 1, 7, 640, -3, 1 << 30]), pa.int32()),
            "size": pa.array(some([5, 1 << 62, -(1 << 62)]), pa.int64()),
            "score": pa.array(some([0.0, -0.5, 1e-7, 1e16, 3.25]), pa.float64()),
            "like": some([True, False]),  # a word of Milvus
            "größe": some(["x"]),  # no name for Milvus
            "tags": [["a"]] * N,  # no kind of Milvus
        }
    )


ITEMS = made()
FIELDS = fields_of(ITEMS)
WORDS = ("label", "path")
NUMBERS = {"width": [0, 7, -3, 639], "size": [5, 1 << 62, 0], "score": [0.0, 1, -0.5, 1e16, 1e-7], "id": [3, 50]}


def comparison(draw: random.Random) -> str:
    """One comparison, of any form that filters know."""
    sign = draw.choice(["==", "!=", "<", "<=", ">", ">="])
    name = draw.choice([*WORDS, *NUMBERS])
    values = TEXTS if name in WORDS else NUMBERS[name]
    value, other = repr(draw.choice(values)), repr(draw.choice(values))
    text = draw.choice(TEXTS[:-3]) or "b"
    forms: list[Callable[[], str]] = [
        lambda: f"{name} {sign} {value}",
        lambda: f"{value} {sign} {name}",
        lambda: f"{value} <= {name} < {other}",
        lambda: f"{name} {draw.choice(['in', 'not in'])} ({value}, {other})",
        lambda: f"{draw.choice(WORDS)}.{draw.choice(['startswith', 'endswith', 'contains'])}({text[:3]!r})",
        lambda: f"label {draw.choice(['in', 'not in'])} ({draw.choice(TEXTS)!r}, None)",
        lambda: f"{draw.choice(['label', 'width', 'score', 'like'])} is {draw.choice(['', 'not '])}None",
        lambda: draw.choice(["like", "like == True", "like != False", "False == like"]),
    ]
    return draw.choice(forms)()


def expression(draw: random.Random, depth: int) -> str:
    if depth == 0 or draw.random() < 0.2:
        return comparison(draw)
    if draw.random() < 0.3:
        return f"not ({expression(draw, depth - 1)})"
    return f"({expression(draw, depth - 1)}) {draw.choice(['and', 'or'])} ({expression(draw, depth - 1)})"


@pytest.fixture(scope="module")
def filled(milvus: str) -> MilvusStore:
    place = Place(parsed(milvus) or "", "filters", "")
    vectors = np.eye(N, 8, dtype=np.float32) + 1
    store = MilvusStore(place, np.arange(N), vectors, mark="m", fields=FIELDS)
    store.prepare("nobody")
    store.build(MilvusPlan("exact", ""))
    store.add(np.arange(N), vectors, ITEMS)
    return store


@pytest.mark.parametrize("written", [False, True], ids=["in memory", "on the disk"])
def test_random_filters_find_the_same_rows_in_milvus(written: bool, filled: MilvusStore) -> None:
    if written:
        filled.settle()
    draw, found = random.Random(7), 0
    for _ in range(250):
        text = expression(draw, draw.randrange(4))
        translated = milvus_expression(parsed_filter(text), FIELDS)
        assert translated is not None, text
        rows = filled._client.query(filled.name, translated, ["id"], limit=N)
        expected = rows_where(ITEMS, text).nonzero()[0].tolist()
        assert sorted(row["id"] for row in rows) == expected, (text, translated)
        found += 0 < len(expected) < N
    assert found > 100  # most filters tell some rows from others


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("label == 'cat'", '(label is not null and label == "cat")'),
        ("not label == 'cat'", '(label is not null and label != "cat")'),
        (
            "not (width > 3 and like)",
            "((width is not null and width <= 3) or (own_like is not null and own_like == false))",
        ),
        ("3 < width", "(width is not null and width > 3)"),
        ("id == 3", "id == 3"),
        ("label in ('a', None)", '(label is null or (label is not null and label in ["a"]))'),
        ("not label in ('a', None)", '(label is not null and label not in ["a"])'),
        ("path.startswith('a_%\\\\')", '(path is not null and path like "a\\\\_\\\\%\\\\\\\\%")'),
        ("score > 3", "(own_score is not null and own_score > 3.0)"),
    ],
)  # fmt: skip
def test_not_goes_down_to_comparisons_that_say_their_field_is_not_empty(text: str, translated: str) -> None:
    assert milvus_expression(parsed_filter(text), FIELDS) == translated


@pytest.mark.parametrize(
    "text",
    [
        "größe == 'x'",  # of no column there
        "tags is None",
        "width > id",  # two columns
        "width > 2.5",  # of another kind, which Arrow compares as numbers with a fraction
        "label == None",
        "label < '\x01'",  # a sign that Milvus cannot be told
        "score > 1e999",
        "like < True",
        "label.contains('')",
        "id is None",
        "label in ()",
        "not " * 400 + "tags",
    ],
)
def test_what_milvus_computes_otherwise_is_left_to_the_items(text: str) -> None:
    assert milvus_expression(parsed_filter(text), FIELDS) is None


def test_columns_that_milvus_cannot_hold_exactly_are_not_stored(tmp_path: Path) -> None:
    assert set(FIELDS) == {"id", "path", "label", "width", "size", "score", "like"}
    odd = pa.table({"id": [1], "nan": [float("nan")], "long": ["x" * 70_000], "big": pa.array([1], pa.uint64())})
    assert set(fields_of(odd)) == {"id"}

"""The page's HTML: what people wrote stays text, and what a browser sends is checked."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest

from cpchub.errors import QueryError
from cpchub.fewlabels.estimate import ClassEstimate, Estimate, Share
from cpchub_serving.page import clicks
from cpchub_serving.page import markup as tiles
from cpchub_serving.page.label.accuracy import confusion_table, estimate_card
from cpchub_serving.page.label.board import wire
from cpchub_serving.page.label.class_panel import class_panel
from cpchub_serving.page.label.message import read_message
from cpchub_serving.visit.label_set import Labels
from cpchub_serving.visit.learned import Judged
from cpchub_serving.visit.predictions import predict
from cpchub_serving.visit.session import Session

NASTY = """<img src=x onerror="alert('1')">"""


def test_file_and_class_names_are_escaped_everywhere() -> None:
    labels = Labels(classes=(NASTY,), labels={3: NASTY})
    estimate = Estimate(Share(0.5, 0, 1, 1, 2), (ClassEstimate(NASTY, 2, None, None),), ((2,),))
    drawn = [
        tiles.header(NASTY, 3, NASTY, 8),
        tiles.heading(NASTY, NASTY),
        tiles.grid([tiles.Tile(0, NASTY, NASTY, NASTY, NASTY)], "query", NASTY),
        tiles.menu("only", [(NASTY, NASTY)], NASTY, NASTY),
        tiles.choice("sort", [(NASTY, NASTY)], NASTY, NASTY),
        tiles.facts(NASTY, [(NASTY, NASTY)]),
        class_panel(labels, None, NASTY, 0.0),
        confusion_table(estimate),
        wire(Session("me", active=NASTY), labels, None, 10),
    ]
    for markup in drawn:
        assert "<img src=x" not in markup
        assert "&lt;img" in markup


def test_an_image_that_cannot_be_shown_says_so() -> None:
    assert "readable" in tiles.grid([tiles.Tile(0, None, "gone.png")], "query", "Search with")


@pytest.mark.parametrize(("page", "previous_off", "next_off"), [(0, True, False), (1, False, False), (2, False, True)])
def test_the_pager_stops_at_both_ends(page: int, previous_off: bool, next_off: bool) -> None:
    previous, following = tiles.pager(page, 10, 25).split("<span>")
    assert ("disabled" in previous, "disabled" in following) == (previous_off, next_off)


def test_a_page_beyond_the_last_is_the_last() -> None:
    assert tiles.check_page("99", 10, 25) == 2


@pytest.mark.parametrize("page", ["-1", "two", "", "²"])
def test_a_page_that_is_no_number_is_refused(page: str) -> None:
    with pytest.raises(QueryError):
        tiles.check_page(page, 10, 25)


@pytest.mark.parametrize("data", [None, {}, {"arg": 5}, {"arg": ["a"]}, "arg"])
def test_an_event_without_a_text_argument_is_refused(data: object) -> None:
    with pytest.raises(QueryError):
        clicks.read_arg(gr.EventData(None, data))


def test_few_held_out_labels_are_shown_as_an_interval_and_many_as_a_share() -> None:
    labels = Labels(classes=("a", "b"), labels={0: "a", 1: "a", 2: "b"})
    found = predict(np.eye(10, dtype=np.float32), labels.labels)
    few = estimate_card(labels, Judged(found, Estimate(Share(0.1, 0.0, 0.49, 0, 4), (), ()), None))
    assert "<b>0–49%</b>" in few
    assert "too few" in few
    many = Judged(found, Estimate(Share(0.9, 0.83, 0.94, 90, 100), (), ()), None)
    assert "<b>90%</b>" in estimate_card(labels, many)
    assert "second image" in estimate_card(labels, Judged(found, None, None))


def test_the_estimate_card_says_what_is_missing() -> None:
    assert "two classes" in estimate_card(Labels(), None)


@pytest.mark.parametrize("text", ["", "[]", "1", '{"number": 1}', '{"number": 1, "rows": [], "said": "a"}'])
def test_a_message_that_says_nothing_of_an_image_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="reload"):
        read_message(text)
    for rows, said in (('["1"]', '"a"'), ("[true]", '"a"'), ("[1]", "5")):
        with pytest.raises(QueryError, match="reload"):
            read_message(f'{{"number": 1, "rows": {rows}, "said": {said}}}')


def test_a_message_may_leave_the_class_to_the_server() -> None:
    assert read_message('{"number": 7, "rows": [1]}') == (7, [1], ...)
    assert read_message('{"number": 7, "rows": [1, 2], "said": null}') == (7, [1, 2], None)

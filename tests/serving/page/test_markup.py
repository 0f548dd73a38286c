"""The page's HTML: what people wrote stays text, and what a browser sends is checked."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest

from cpchub.errors import QueryError
from cpchub.fewlabels.estimate import Estimate, Share
from cpchub_serving.page import clicks
from cpchub_serving.page import markup as tiles
from cpchub_serving.page.label.class_panel import class_panel, estimate_card
from cpchub_serving.visit.session import Session

NASTY = """<img src=x onerror="alert('1')">"""


def test_file_and_class_names_are_escaped_everywhere() -> None:
    session = Session(10)
    session.add_classes(NASTY)
    drawn = [
        tiles.header(NASTY, 3, NASTY, 8),
        tiles.heading(NASTY, NASTY),
        tiles.grid([tiles.Tile(0, NASTY, NASTY, NASTY, NASTY)], "query", NASTY),
        tiles.menu("only", [(NASTY, NASTY)], NASTY, NASTY),
        tiles.choice("sort", [(NASTY, NASTY)], NASTY, NASTY),
        tiles.facts(NASTY, [(NASTY, NASTY)]),
        class_panel(session),
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
    session = Session(10, classes=["a", "b"], labels={0: "a", 1: "a", 2: "b"})
    session.classify(np.eye(10, dtype=np.float32))
    few = estimate_card(session, Estimate(Share(0.1, 0.0, 0.49, 0, 4), (), ()))
    assert "<b>0–49%</b>" in few
    assert "too few" in few
    assert "<b>90%</b>" in estimate_card(session, Estimate(Share(0.9, 0.83, 0.94, 90, 100), (), ()))


def test_the_estimate_card_says_what_is_missing() -> None:
    assert "two classes" in estimate_card(Session(10), None)

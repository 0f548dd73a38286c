"""The Encoders tab: which encoders are listed, what a card says, and the curve."""

from __future__ import annotations

import pytest

from cpchub.errors import QueryError
from cpchub_serving.page.encoders import cards
from cpchub_serving.page.encoders.curve import curve_of, svg
from cpchub_serving.visit.comparing import Comparing
from cpchub_serving.visit.encoder_facts import Catalog

BUNDLED = "simclr-resnet18-w32-cifar10-cpu"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def test_what_is_on_this_machine_comes_first_and_recipes_last(catalog: Catalog) -> None:
    here = [each.here for each in catalog.encoders]
    assert here == sorted(here, reverse=True)
    assert catalog.encoders[-1].spec.status == "recipe"


def test_words_are_looked_for_in_name_method_and_data(catalog: Catalog) -> None:
    assert BUNDLED in [each.name for each in catalog.matching("SimCLR cifar")]
    assert catalog.matching("no such encoder") == []
    assert catalog.matching("") == catalog.encoders


def test_an_encoder_that_is_not_there_is_refused(catalog: Catalog) -> None:
    with pytest.raises(QueryError, match="no encoder 'x'"):
        catalog.named("x")


def test_a_card_tells_the_facts_and_draws_the_curve(catalog: Catalog) -> None:
    card = cards.cards([catalog.named(BUNDLED)], own="another", sample=500)
    assert "in the package" in card
    assert "<svg" in card
    assert "trained from scratch" in card
    assert 'data-act="try"' in card


def test_the_encoder_of_the_collection_and_a_recipe_cannot_be_tried(catalog: Catalog) -> None:
    assert 'data-act="try"' not in cards.cards([catalog.named(BUNDLED)], own=BUNDLED, sample=500)
    assert 'data-act="try"' not in cards.cards([catalog.named("cpc-resnet170")], own=BUNDLED, sample=500)


def test_more_than_three_cards_push_out_the_oldest() -> None:
    comparing = Comparing()
    for name in "abcd":
        comparing.toggle(name)
    assert comparing.chosen == ["b", "c", "d"]
    comparing.toggle("c")
    assert comparing.chosen == ["b", "d"]


def test_the_curve_has_the_measured_points_and_needs_two() -> None:
    rows = [{"task": "low-label", "dataset": "cifar10", "labels": n, "value": v} for n, v in ((100, 0.4), (10, 0.2))]
    rivals = [{"dataset": "cifar10", "config": "scratch_1pct", "labels": 10, "value": 0.1}]
    curve = curve_of({"results": rows, "rivals": rivals})
    assert curve is not None
    assert curve.frozen == ((10, 0.2), (100, 0.4))
    assert curve.scratch == ((10, 0.1),)
    assert "20.0% right with 10 labels, 10.0% when trained from scratch" in svg(curve, "it")
    assert curve_of({"results": rows[:1]}) is None
    assert curve_of({}) is None

"""The filters as HTML: the values of columns with counts, the ranges of numbers; a click changes the filter's text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cpchub_serving.visit.facets import Choices, Counted, Range
from cpchub_serving.visit.filters import FOLDER, Between, Chosen, conditions, toggled

AT_FIRST = 8  # values of a column in sight


def drawn(facets: Sequence[Choices | Range], where: str) -> str:
    """All facets, with what the filter chooses marked."""
    now = conditions(where)
    return "".join(
        _choices(facet, now.get(facet.column), where)
        if isinstance(facet, Choices)
        else _range(facet, now.get(facet.column))
        for facet in facets
    )


def _choices(facet: Choices, now: Chosen | Between | None, where: str) -> str:
    chosen = now.values if isinstance(now, Chosen) else ()
    lines = [_value(facet, each, each.value in chosen, where) for each in facet.values]
    first, rest = "".join(lines[:AT_FIRST]), "".join(lines[AT_FIRST:])
    if rest or facet.more:
        told = f'<p class="cpc-note">and {facet.more:,} more: write them in the filter</p>' if facet.more else ""
        is_open = " open" if any(each.value in chosen for each in facet.values[AT_FIRST:]) else ""
        more = len(facet.values) - AT_FIRST + facet.more
        first += f"<details{is_open}><summary>{more:,} more</summary>{rest}{told}</details>"
    name = escape(facet.column)
    return f'<fieldset class="cpc-facet" data-column="{name}"><legend>{name}</legend>{first}</fieldset>'


def _value(facet: Choices, each: Counted, on: bool, where: str) -> str:
    if each.value is None:
        shown = "<i>empty</i>"
    elif isinstance(each.value, bool):
        shown = "yes" if each.value else "no"
    else:
        shown = escape(str(each.value).removesuffix("/") if facet.column == FOLDER else str(each.value))
    target, value = escape(toggled(where, facet.column, each.value)), escape(str(each.value))
    return (
        f'<button type="button" class="cpc-value" data-where="{target}" data-value="{value}" '
        f'aria-pressed="{"true" if on else "false"}"><span>{shown}</span><small>{each.count:,}</small></button>'
    )


def _range(facet: Range, now: Chosen | Between | None) -> str:
    low, high = (now.low, now.high) if isinstance(now, Between) else (None, None)
    most = max(facet.bins)
    width = (facet.high - facet.low) / len(facet.bins)

    def inside(place: int) -> bool:
        left = facet.low + place * width
        return (low is None or left + width >= low) and (high is None or left <= high)

    bars = "".join(
        f'<i style="height:{100 * count / most:.0f}%"{"" if inside(place) else " class=cpc-out"}></i>'
        for place, count in enumerate(facet.bins)
    )
    name = escape(facet.column)
    title = "size, bytes" if facet.column == "size" else name
    ends = "".join(
        f'<input type="number" step="{"1" if facet.whole else "any"}" data-end="{end}" aria-label="{name} {said}" '
        f'placeholder="{bound:g}" value="{"" if value is None else f"{value:g}"}">'
        for end, said, bound, value in (("low", "from", facet.low, low), ("high", "to", facet.high, high))
    )
    return (
        f'<fieldset class="cpc-facet cpc-range" data-column="{name}"><legend>{title}</legend>'
        f'<div class="cpc-bars" aria-hidden="true">{bars}</div><div class="cpc-ends">{ends}</div></fieldset>'
    )

"""The side pane of the Label tab: the classes with their counts."""

from __future__ import annotations

from html import escape

from cpchub_serving.page import markup
from cpchub_serving.visit.label_set import Labels
from cpchub_serving.visit.predictions import Predictions
from cpchub_serving.visit.queues import OF_CLASS, SKIPPED

KEYS = "1234567890"  # of the first ten classes


def class_panel(labels: Labels, found: Predictions | None, active: str | None, least: float) -> str:
    """The classes; the active one is what the next click gives. Predictions less sure than `least` are left unsaid."""
    if not labels.classes:
        return markup.empty("No classes yet", "What would you sort these images into? Name two or more classes.")
    labelled = labels.counts()
    predicted, unsaid = ({}, 0) if found is None else found.counts([*labels.labels, *labels.unsure], least)
    rows = "".join(
        _class_row(number, name, labelled[name], predicted.get(name), name == active)
        for number, name in enumerate(labels.classes)
    )
    rest = [_rest("left unsaid", unsaid)] if unsaid else []
    rest += [_rest("unsure, skipped", len(labels.unsure), SKIPPED)] if labels.unsure else []
    return f'<ul class="cpc-classes">{rows}</ul>' + "".join(rest)


def _class_row(number: int, name: str, labelled: int, predicted: int | None, active: bool) -> str:
    shown = escape(name)
    rest = (
        ""
        if predicted is None
        else f'<button type="button" class="cpc-predicted" data-act="queue" data-arg="{OF_CLASS}{shown}" '
        f'aria-label="Show the {predicted:,} images classified as {shown}" title="classified as {shown}: show them">'
        f"+{predicted:,}</button>"
    )
    key = f"<kbd>{KEYS[number]}</kbd>" if number < len(KEYS) else ""
    return (
        f'<li class="cpc-c{number % markup.PALETTE}"><button type="button" class="cpc-class" data-act="activate" '
        f'data-arg="{shown}" aria-pressed="{"true" if active else "false"}"><i></i><b>{shown}</b>{key}'
        f'<span title="labelled {shown}">{labelled:,}</span></button>{rest}'
        f'<button type="button" class="cpc-remove" data-act="drop" data-arg="{shown}" '
        f'aria-label="Remove {shown}" title="Remove {shown} and its labels">×</button></li>'
    )


def _rest(what: str, count: int, queue: str | None = None) -> str:
    """A line below the classes."""
    said = f"{what} <b>{count:,}</b>"
    if queue is None:
        return f'<p class="cpc-rest">{said}</p>'
    return f'<p class="cpc-rest"><button type="button" data-act="queue" data-arg="{queue}">{said}</button></p>'

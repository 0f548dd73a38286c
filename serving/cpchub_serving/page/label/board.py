"""The images of the Label tab, and what their tiles say."""

from __future__ import annotations

import json
from html import escape
from itertools import islice
from typing import Any

from cpchub_serving.page import markup
from cpchub_serving.page.context import Context
from cpchub_serving.visit.label_set import UNSURE, Labels
from cpchub_serving.visit.predictions import Predictions
from cpchub_serving.visit.queues import CALLED, ERRORS, MIXED, NEXT, OF_CLASS, UNCERTAIN
from cpchub_serving.visit.rows import mixed_order
from cpchub_serving.visit.session import Session

PER_PAGE = 48
TOLD = 2000  # newest labels that the other tabs are told, some 20 KB
UNSURE_SAID = "Unsure: skip it, and do not offer it again (key x)"
NOTHING = {
    ERRORS: "No label is contradicted by the others. Each class needs two labels for this.",
    NEXT: "Every image has a label, or was skipped.",
    UNCERTAIN: "Every image has a label, or was skipped.",
}


def shown_rows(session: Session, count: int) -> tuple[list[int], int]:
    """The rows of the page that a visitor looks at, and the length of the queue."""
    rows = mixed_order(count) if session.queued is None else session.queued
    return rows[session.page * PER_PAGE : (session.page + 1) * PER_PAGE].tolist(), len(rows)


def board(context: Context, session: Session, labels: Labels, found: Predictions | None) -> str:
    """A page of the queue, with its tools."""
    rows, total = shown_rows(session, context.finder.count)
    options = [*CALLED.items(), *((f"{OF_CLASS}{name}", f"Predicted: {name}") for name in labels.classes)]
    tools = (
        markup.menu("queue", options, session.queue, "Queue")
        + markup.button("Sort anew", "queue", session.queue, disabled=session.queue == MIXED)
        + '<button type="button" class="cpc-button" data-keys title="What the keys do (key ?)">Keys</button>'
    )
    head = markup.heading("Images", advice(session, labels), f'<div class="cpc-tools">{tools}</div>')
    if not rows:
        return head + markup.empty("No images here", NOTHING.get(session.queue, "Choose another queue."))
    cards = [_tile(session, labels, found, row, context.thumbnails.url(row), context.finder.paths[row]) for row in rows]
    cells = "".join(_cell(tile) for tile in cards)
    return f'{head}<div class="cpc-grid">{cells}</div>{markup.pager(session.page, PER_PAGE, total)}'


def _cell(tile: markup.Tile) -> str:
    """A tile with what else can be done with its image; label.js keeps the first button as the tile says."""
    pressed = "true" if tile.skipped else "false"
    small = markup.small_button(
        "?", f"Unsure about {tile.name}", f'data-unsure aria-pressed="{pressed}"', UNSURE_SAID, by_key=True
    )
    small += markup.small_button(
        "⤢", f"Open {tile.name}", f'data-large="{tile.row}"', "Open it large (key l)", by_key=True
    )
    return markup.cell(markup.tile_button(tile, "say", "Label"), small)


def wire(session: Session, labels: Labels, found: Predictions | None, count: int) -> str:
    """What label.js draws the tiles from, as JSON in text: so a click redraws no image."""
    tiles = {row: _facts(_tile(session, labels, found, row)) for row in shown_rows(session, count)[0]}
    return escape(
        json.dumps(
            {
                "set": session.set_name,
                "heard": session.heard,
                "palette": markup.PALETTE,
                "classes": labels.classes,
                "active": session.active_in(labels),
                "advice": advice(session, labels),
                "tiles": tiles,
                "given": dict(islice(reversed(labels.labels.items()), TOLD)),
            }
        )
    )


def advice(session: Session, labels: Labels) -> str:
    """What to do next, in a sentence."""
    if not labels.classes:
        return "Add two or more classes, then click a few images of each."
    if not labels.ready:
        missing = "images of one more class" if labels.labels else "one image of each class"
        return f"Now click {missing}; everything else is classified from then on."
    clicks = f"Clicks label as “{session.active_in(labels)}”."
    if session.queue == MIXED:
        return f"{clicks} The queue “{CALLED[NEXT]}” finds the images most worth a label."
    return f"{clicks} “Sort anew” takes the newest labels into account."


def _tile(
    session: Session, labels: Labels, found: Predictions | None, row: int, image: str | None = None, path: str = ""
) -> markup.Tile:
    said = labels.said(row)
    if said == UNSURE:
        return markup.Tile(row, image, path, "unsure", skipped=True)
    if said is not None:
        given, suggested = session.doubts.get(row, ("", ""))
        caption = f"{said}, or {suggested}?" if said == given else said
        return markup.Tile(row, image, path, caption, colour=labels.classes.index(said), labelled=True)
    if found is None:
        return markup.Tile(row, image, path)
    name, confidence = found.classes[found.chosen[row]], float(found.confidence[row])
    if confidence < session.least or name not in labels.classes:
        return markup.Tile(row, image, path, "left unsaid", f"{confidence:.0%}", meter=confidence)
    colour = labels.classes.index(name)
    return markup.Tile(row, image, path, name, f"{confidence:.0%}", meter=confidence, colour=colour)


def _facts(tile: markup.Tile) -> dict[str, Any]:
    return {
        "said": [text for text in (tile.caption, tile.value) if text],
        "meter": tile.meter,
        "colour": None if tile.colour is None else tile.colour % markup.PALETTE,
        "labelled": tile.labelled,
        "skipped": tile.skipped,
    }

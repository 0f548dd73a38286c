"""The parts of the Clean tab as markup: the queues, a group of duplicates, the outliers, the files that are broken."""

from __future__ import annotations

from html import escape

from cpchub.common.words import counted
from cpchub_serving.page import markup
from cpchub_serving.visit.background import Progress
from cpchub_serving.visit.checks import Found
from cpchub_serving.visit.cleaning import BROKEN, DUPLICATES, OUTLIERS, QUEUES, Cleaner, Cleaning, says
from cpchub_serving.visit.marks import KEEP, REMOVE, Mark
from cpchub_serving.visit.thumbnails import Thumbnails

NAMES = {DUPLICATES: "Duplicates", OUTLIERS: "Outliers", BROKEN: "Broken files"}
UNITS = {DUPLICATES: "group", OUTLIERS: "image", BROKEN: "file"}
MOST_OF_A_GROUP = 24  # images that are shown
SAID = {REMOVE: "remove", KEEP: "keep", None: ""}


def side(cleaner: Cleaner, state: Cleaning) -> str:
    """The queues with how much of each is to do, and what becomes of the marks."""
    rows = "".join(_queue(cleaner, name, name == state.queue) for name in QUEUES)
    count = cleaner.to_remove()
    return (
        f'<ul class="cpc-queues">{rows}</ul><div class="cpc-clean-card"><b>{counted(count, "image")} marked to be '
        "removed</b><p>This page deletes nothing. The marks are in the collection as marks.csv, for your own tool.</p>"
        '<a class="cpc-button" href="page/clean/marks.csv" download="marks.csv">Download marks.csv</a></div>'
    )


def _queue(cleaner: Cleaner, name: str, chosen: bool) -> str:
    total, left = cleaner.sizes(name)
    waiting = name != BROKEN and cleaner.checks.found is None
    said = "…" if waiting else f"{left:,} of {total:,} to do" if total else "none"
    return (
        f'<li><button type="button" class="cpc-queue" data-act="queue" data-arg="{name}" '
        f'aria-pressed="{"true" if chosen else "false"}"><b>{NAMES[name]}</b><span>{said}</span></button></li>'
    )


def waiting(progress: Progress) -> str:
    """How far the comparison is, or why it failed."""
    if progress.state == "failed":
        return markup.empty("The images could not be compared", progress.error)
    what = escape(f"{progress.what or 'Starting'}, {progress.share:.0%}")
    return (
        f'<div class="cpc-empty" role="status"><b>All images are compared with each other</b><p>{what}</p>'
        f'<progress max="1" value="{progress.share:.3f}" aria-label="How far the comparison is"></progress>'
        "<p>You can go on with the other tabs meanwhile. What is found is kept in the collection.</p></div>"
    )


def about_duplicates(found: Found) -> str:
    """What the words on the groups mean, and what is in none of them."""
    said = markup.note(f"Copies have the same bytes. Near images have a cosine of {found.near} or more.")
    if found.not_listed:
        said += f"<details><summary>What is not listed</summary><p>{escape(found.not_listed)}</p></details>"
    return f'<div class="cpc-how">{said}</div>'


def group(cleaner: Cleaner, thumbnails: Thumbnails, place: int) -> str:
    """A group of duplicates: the one to keep first, and what to do with all of them."""
    copies, marks = cleaner.group(place), cleaner.marks.now()
    found = [marks.get(cleaner.paths[each.row]) for each in copies]
    tiles = []
    for number, (each, mark) in enumerate(zip(copies[:MOST_OF_A_GROUP], found, strict=False)):
        about = "best one" if number == 0 else "same bytes" if each.same else f"{each.similarity:.3f}"
        tiles.append(_cell(cleaner, thumbnails, each.row, about, mark))
    same = sum(each.same for each in copies[1:])
    kinds = [f"{same:,} the same byte for byte"] if same else []
    kinds += [f"{len(copies) - 1 - same:,} near"] if len(copies) - 1 - same else []
    more = len(copies) - len(tiles)
    rest = markup.note(f"And {more:,} more; the buttons of the group are for all of them.") if more else ""
    none_left = all(says(mark) == REMOVE for mark in found)
    warning = '<p class="cpc-warning" role="alert">Every image of this group is marked.</p>' if none_left else ""
    controls = (
        '<div class="cpc-tools">'
        + markup.button(f"Keep the best, mark {len(copies) - 1:,}", "rest", place)
        + markup.button("Keep all", "all", place)
        + "</div>"
    )
    head = markup.heading(f"{len(copies):,} images", ", ".join(kinds), controls)
    return (
        f'<section class="cpc-clean-group">{head}{warning}<div class="cpc-grid">{"".join(tiles)}</div>{rest}</section>'
    )


def outliers(cleaner: Cleaner, thumbnails: Thumbnails, places: list[int]) -> str:
    """Images that are like no others."""
    marks, cells = cleaner.marks.now(), []
    for place in places:
        row, similarity = cleaner.outlier(place)
        cells.append(_cell(cleaner, thumbnails, row, f"{similarity:.3f}", marks.get(cleaner.paths[row])))
    return f'<div class="cpc-grid">{"".join(cells)}</div>'


def broken(cleaner: Cleaner, places: list[int]) -> str:
    """Files that could not be read, with the reasons."""
    marks, rows = cleaner.marks.now(), []
    for place in places:
        path, reason = cleaner.checks.broken[place]
        pressed = "true" if path in marks else "false"
        name = escape(path)
        said = "Marked" if path in marks else "Mark"
        rows.append(
            f'<li><div><b title="{name}">{name}</b><p>{escape(reason)}</p></div><button type="button" '
            f'class="cpc-button" data-act="broken" data-arg="{place}" aria-pressed="{pressed}" '
            f'aria-label="{said} {name}">{said}</button></li>'
        )
    return f'<ul class="cpc-broken">{"".join(rows)}</ul>'


def _cell(cleaner: Cleaner, thumbnails: Thumbnails, row: int, about: str, mark: Mark | None) -> str:
    name, say = cleaner.paths[row], SAID[says(mark)]
    tile = markup.tile_button(markup.Tile(row, thumbnails.url(row), name, say or about), "mark", "Mark")
    look = markup.small_button("⤢", f"Open {name}", f'data-large="{row}"', "Open it large")
    return markup.cell(tile, look, f' data-mark="{say}"')

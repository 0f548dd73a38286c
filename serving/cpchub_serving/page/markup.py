"""The page's HTML: plain functions from facts to markup. Everything a person wrote is escaped here.

An element with `data-act` answers a click with the event of that name: a tab writes `html(..., acts=("query",))` and
listens to `.query(...)`, and the handler reads the element's `data-arg` with `read_arg`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from cpchub.errors import QueryError

PALETTE = 10  # class colours in base.css; the eleventh class wears the first colour again
END = 10  # characters at the end of a name that always stay in sight


@dataclass(frozen=True)
class Tile:
    """One image of a grid: `image` is its URL or None where it cannot be shown, `meter` a share from 0 to 1.

    Of `caption` and `value` beneath it the caption gives way where there is no room for both.
    """

    row: int
    image: str | None
    name: str
    caption: str = ""
    value: str = ""
    meter: float | None = None
    colour: int | None = None
    labelled: bool = False
    skipped: bool = False


def header(name: str, count: int, encoder: str, dim: int) -> str:
    """The page's head: the product, the collection and what it was embedded with."""
    images = f"<b>{count:,}</b> image" + ("" if count == 1 else "s")
    facts = [images, f'encoder <b title="{dim} dimensions">{escape(encoder)}</b>']
    facts.append('<a href="docs">HTTP API</a>')
    return (
        '<header class="cpc-header"><div class="cpc-brand"><span class="cpc-mark" aria-hidden="true">'
        "<i></i><i></i><i></i><i></i></span>cpchub</div>"
        f'<h1>{escape(name)}</h1><p class="cpc-facts">{"".join(f"<span>{fact}</span>" for fact in facts)}</p></header>'
    )


def collections(menu: Sequence[tuple[str, str]], shown: str) -> str:
    """Links to the collections that are served together: name in the address and title; nothing where there is one."""
    links = "".join(
        f'<a href="../{quote(name)}/"{" aria-current=page" if name == shown else ""}>{escape(title)}</a>'
        for name, title in menu
    )
    return f'<nav class="cpc-collections" aria-label="Collections">{links}</nav>' if menu else ""


def heading(title: str, detail: str = "", controls: str = "") -> str:
    """A section's title with a quiet line beneath and controls at the right. `controls` is markup, the rest text."""
    below = f"<p>{escape(detail)}</p>" if detail else ""
    return f'<div class="cpc-heading"><div><h2>{escape(title)}</h2>{below}</div>{controls}</div>'


def empty(title: str, text: str) -> str:
    """What a pane says when it has nothing to show."""
    return f'<div class="cpc-empty"><b>{escape(title)}</b><p>{escape(text)}</p></div>'


def button(label: str, act: str, arg: object = "", *, disabled: bool = False) -> str:
    off = " disabled" if disabled else ""
    return (
        f'<button type="button" class="cpc-button" data-act="{act}" data-arg="{escape(str(arg))}"{off}>'
        f"{escape(label)}</button>"
    )


def choice(act: str, options: Sequence[tuple[object, str]], chosen: object, label: str) -> str:
    """A row of buttons of which one is on."""
    buttons = "".join(
        f'<button type="button" data-act="{act}" data-arg="{escape(str(value))}" '
        f'aria-pressed="{"true" if value == chosen else "false"}">{escape(text)}</button>'
        for value, text in options
    )
    return f'<div class="cpc-choice" role="group" aria-label="{escape(label)}">{buttons}</div>'


def menu(act: str, options: Sequence[tuple[str, str]], chosen: str, label: str) -> str:
    """A drop-down list."""
    entries = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in options
    )
    return (
        f'<select class="cpc-menu" data-act="{act}" aria-label="{escape(label)}" value="{escape(chosen)}">'
        f"{entries}</select>"
    )


def grid(tiles: Sequence[Tile], act: str, verb: str) -> str:
    """Images side by side; `verb` is what a click does, for screen readers ("Label")."""
    return f'<div class="cpc-grid">{"".join(tile_button(tile, act, verb) for tile in tiles)}</div>'


def tile_button(tile: Tile, act: str, verb: str) -> str:
    """One image with its caption, as a button. The act "large" opens the large view, by itself."""
    name = escape(tile.name)
    image = (
        f'<img src="{escape(tile.image)}" alt="" loading="lazy" decoding="async" draggable="false">'
        if tile.image is not None
        else '<span class="cpc-gone">not<br>readable</span>'
    )
    said = [text for text in (tile.caption, tile.value) if text]
    spans = "".join(f"<span>{escape(text)}</span>" for text in said)
    caption = f'<span class="cpc-caption">{spans}</span>' if said else ""
    meter = "" if tile.meter is None else f'<span class="cpc-meter"><i style="width:{_percent(tile.meter)}"></i></span>'
    colour = "" if tile.colour is None else f" cpc-c{tile.colour % PALETTE}"
    state = " cpc-labelled" * tile.labelled + " cpc-skipped" * tile.skipped
    does = f'data-large="{tile.row}"' if act == "large" else f'data-act="{act}" data-arg="{tile.row}"'
    return (
        f'<button type="button" class="cpc-tile{colour}{state}" {does} title="{name}" '
        f'aria-label="{escape(", ".join([f"{verb} {tile.name}", *said]))}">'
        f'<span class="cpc-frame">{image}</span>{caption}{meter}{_name(Path(tile.name).name)}</button>'
    )


def cell(tile: str, buttons: str, attributes: str = "", more: str = "") -> str:
    """A tile with the small buttons of its image. All that is given is markup."""
    return f'<div class="cpc-cell"{attributes}>{tile}<div class="cpc-small">{buttons}</div>{more}</div>'


def small_button(sign: str, label: str, does: str, title: str, *, by_key: bool = False) -> str:
    """One of the small buttons. sign: markup; does: its attributes; label: what it does to which image.

    by_key: a key on the tile does the same, so the Tab key passes over the button.
    """
    skipped = ' tabindex="-1"' if by_key else ""
    return f'<button type="button"{skipped} {does} aria-label="{escape(label)}" title="{escape(title)}">{sign}</button>'


def _name(name: str) -> str:
    """A file's name in two parts: where room is short the first gives way, for the end tells images apart."""
    return f'<span class="cpc-name"><span>{escape(name[:-END])}</span><span>{escape(name[-END:])}</span></span>'


def pager(page: int, per_page: int, total: int) -> str:
    """Buttons to the previous and the next page, with where one is."""
    if total == 0:
        return ""
    first, last = page * per_page, min((page + 1) * per_page, total)
    return (
        '<nav class="cpc-pager">'
        + button("Previous", "turn", page - 1, disabled=page == 0)
        + f"<span>{first + 1:,}–{last:,} of {total:,}</span>"
        + button("Next", "turn", page + 1, disabled=last >= total)
        + "</nav>"
    )


def check_page(page: str, per_page: int, total: int) -> int:
    """The page number a browser asked for, as an int within the pages there are. Raises QueryError for no number."""
    if not (page.isascii() and page.isdecimal()):
        raise QueryError(f"There is no page {page!r}.")
    return min(int(page), max(0, (total - 1) // per_page))


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.0f}%"


def note(text: str) -> str:
    """A quiet line."""
    return f'<p class="cpc-note">{escape(text)}</p>'


def facts(title: str, lines: Sequence[tuple[str, str]]) -> str:
    """A title and a small table of names and values."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in lines)
    return f'<div class="cpc-facts-card"><b title="{escape(title)}">{escape(title)}</b><dl>{rows}</dl></div>'

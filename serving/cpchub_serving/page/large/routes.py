"""What the large view shows of one image: its path, its columns, its nearest neighbours."""

from __future__ import annotations

import datetime
from html import escape
from typing import Any

from fastapi import APIRouter

from cpchub_serving.page import markup
from cpchub_serving.page.context import Context
from cpchub_serving.visit.rows import check_row

NEIGHBOURS = 12
NOT_SHOWN = ("path", "mtime_ns", "etag", "sha256")


def routes(context: Context) -> APIRouter:
    """The addresses under `/page/large`."""
    finder, thumbnails = context.finder, context.thumbnails
    router = APIRouter(include_in_schema=False)

    @router.get("/{row}")
    def large(row: int) -> dict[str, Any]:
        """One image, by its row."""
        known = finder.facts(check_row(row, finder.count))
        near = finder.by_row(row, NEIGHBOURS).neighbours if finder.count > 1 else []
        tiles = [markup.Tile(each.row, thumbnails.url(each.row), each.path, f"{each.score:.3f}") for each in near]
        return {
            "id": known["id"],
            "path": known["path"],
            "image": thumbnails.preview_url(row),
            "facts": "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _lines(known)),
            "neighbours": markup.grid(tiles, "large", "Open"),
        }

    return router


def _lines(known: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("id", str(known["id"]))]
    if known["width"] and known["height"]:
        lines.append(("dimensions", f"{known['width']} × {known['height']}"))
    if known["size"]:
        lines.append(("file size", f"{known['size'] / 1000:,.1f} kB"))
    if known["mtime_ns"]:
        changed = datetime.datetime.fromtimestamp(known["mtime_ns"] / 1e9, datetime.timezone.utc)
        lines.append(("changed", f"{changed:%Y-%m-%d %H:%M} UTC"))
    done = (*NOT_SHOWN, "id", "width", "height", "size")
    return lines + [(name, _text(value)) for name, value in known.items() if name not in done and value is not None]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

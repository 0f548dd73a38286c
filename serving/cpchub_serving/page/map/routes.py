"""What the script of the Map tab fetches: how far the map is, its points, their colours, the images of some."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from cpchub_serving.page import markup
from cpchub_serving.page.context import Context
from cpchub_serving.visit.colourings import Colourings
from cpchub_serving.visit.plane import Plane
from cpchub_serving.visit.rows import check_row

MOST_TILES = 200  # of one answer
BYTES = "application/octet-stream"


def routes(context: Context) -> APIRouter:
    """The addresses under `/page/map`."""
    finder, thumbnails = context.finder, context.thumbnails
    plane, colourings = Plane(finder.index), Colourings(finder.index, context.label_sets)
    router = APIRouter(include_in_schema=False)

    @router.get("/state")
    def state() -> dict[str, Any]:
        """How far the map is; the first call begins it."""
        plane.open()
        progress, drawn = plane.job.progress, plane.drawn
        return {
            "count": finder.count,
            "state": progress.state,
            "what": progress.what,
            "share": progress.share,
            "error": progress.error,
            "version": drawn.version if drawn else None,
            "note": drawn.note if drawn else "",
            "colourings": colourings.choices,
        }

    @router.get("/points")
    def points() -> Response:
        """The places of all images: x and y as uint16, little-endian, in the order of the rows."""
        drawn = plane.drawn
        if drawn is None:
            return Response(status_code=404)
        return Response(drawn.places.astype("<u2").tobytes(), media_type=BYTES, headers={"Cache-Control": "no-store"})

    @router.get("/colours")
    def colours(by: str, set: str = "") -> Response:
        """A code for each image, uint16, after the legend: its length in bytes as uint32, and JSON of even length.

        set: the label set whose labels, or what follows from them, are the colours.
        """
        found = colourings.of(by, set)
        legend = json.dumps(found.legend()).encode()
        legend += b" " * (len(legend) % 2)
        content = len(legend).to_bytes(4, "little") + legend + found.codes.astype("<u2").tobytes()
        return Response(content, media_type=BYTES, headers={"Cache-Control": "no-store"})

    @router.get("/tiles")
    def tiles(rows: Annotated[str, Query(max_length=10 * MOST_TILES)]) -> list[dict[str, Any]]:
        """Some images: name, address of the small copy, and a tile; rows: their numbers with commas between them."""
        found = []
        for row in [check_row(row, finder.count) for row in rows.split(",")[:MOST_TILES]]:
            name, image = finder.paths[row], thumbnails.url(row)
            tile = markup.tile_button(markup.Tile(row, image, name), "large", "Open")
            found.append({"name": name, "image": image, "html": tile})
        return found

    return router

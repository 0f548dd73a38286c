"""What the scripts of the Search tab ask for: results, filters, paths, uploads, downloads."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from cpchub.errors import CpchubError, QueryError
from cpchub_serving.page.context import Context
from cpchub_serving.page.search import filters
from cpchub_serving.page.search.results import Results
from cpchub_serving.visit import downloads
from cpchub_serving.visit.facets import facets_of
from cpchub_serving.visit.filters import narrowed
from cpchub_serving.visit.paths import Paths
from cpchub_serving.visit.query import MOST_PARTS
from cpchub_serving.visit.query import Query as Asked
from cpchub_serving.visit.searching import PAGE, Searches
from cpchub_serving.visit.uploads import Uploads

LARGEST_UPLOAD = 30 * 2**20  # bytes
SECONDS_FOR_UPLOAD = 120
MOST_TILES = 480  # of one answer: what a visitor who comes back had on the page


def _asked(
    q: str = "",
    plus: Annotated[list[str], Query(max_length=MOST_PARTS)] = [],  # noqa: B006 - FastAPI copies it
    minus: Annotated[list[str], Query(max_length=MOST_PARTS)] = [],  # noqa: B006
    where: str = "",
    k: int = 0,
) -> Asked:
    return Asked.read(q, plus, minus, where, k)


Link = Annotated[Asked, Depends(_asked)]


def routes(context: Context) -> APIRouter:
    """The addresses under `/page/search`."""
    finder = context.finder
    uploads = Uploads(finder)
    searches = Searches(finder, uploads)
    results = Results(context, searches)
    facets, paths = facets_of(finder.index.items), Paths(finder)
    router = APIRouter(include_in_schema=False)

    @router.get("/results")
    def some_results(asked: Link, start: int = 0, count: int = PAGE, facets_too: bool = False) -> dict[str, Any]:
        """Tiles of a query from one place on; with the first ones also what stands around them."""
        start, count = max(0, start), min(max(1, count), MOST_TILES)
        answer = searches.answer(asked, start + count + 1)
        groups = answer.page(start, count)
        coming = [int(answer.rows[group.first]) for group in answer.page(start + count, PAGE)]
        context.thumbnails.prepare(coming)
        found: dict[str, Any] = {"tiles": results.tiles(answer, groups), "next": start + count if coming else None}
        if start == 0:
            found |= {
                "tiles": found["tiles"] or results.nothing(asked),
                "heading": results.heading(asked, answer),
                "query": results.query(asked),
                "status": results.status(answer, asked),
                "k": asked.k,
            }
        if facets_too:
            found["facets"] = filters.drawn(facets, asked.where)
        return found

    @router.get("/find")
    def find(text: str) -> dict[str, Any]:
        """The image that a text names, as `id:42`; else why not, and what is nearest."""
        try:
            row = paths.row_of(text[:1000])
        except QueryError as error:
            return {"said": str(error), "nearest": paths.offered(text[:1000])}
        return {"q": f"id:{finder.index.items['id'][row].as_py()}"}

    @router.get("/offer")
    def offer(text: str) -> list[str]:
        """Paths for what is typed."""
        return paths.offered(text[:1000])

    @router.get("/narrow")
    def narrow(column: str, where: str = "", low: float | None = None, high: float | None = None) -> dict[str, str]:
        """The filter with the range of a column set."""
        if column not in [facet.column for facet in facets]:
            raise QueryError(f"There is no column {column!r} to filter by.")
        return {"where": narrowed(where, column, low, high)}

    _add_uploads(router, uploads)
    _add_downloads(router, context, searches)
    return router


def _add_uploads(router: APIRouter, uploads: Uploads) -> None:
    @router.post("/upload")
    async def upload(request: Request, name: str = "") -> dict[str, str]:
        """Keep an encoded image, the body of the request, to search with it."""
        try:
            data = await asyncio.wait_for(_body(request), SECONDS_FOR_UPLOAD)
        except asyncio.TimeoutError as error:
            raise QueryError("The upload took too long.") from error
        token = await asyncio.to_thread(_added, uploads, data, name)
        return {"q": f"upload:{token}"}

    @router.get("/upload/{token}")
    def uploaded(token: str) -> Response:
        """The small copy of an upload."""
        try:
            image = uploads.get(token).thumbnail
        except QueryError:
            return Response(status_code=404)
        return Response(image, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})


def _add_downloads(router: APIRouter, context: Context, searches: Searches) -> None:
    finder, collection = context.finder, context.finder.index.collection

    @router.get("/results.csv")
    def results_csv(asked: Link) -> Response:
        """All results of a query as a table."""
        lines = downloads.results_csv(finder, *searches.rows_of(asked))
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=_as_file("results.csv"))

    def allowed(asked: Link) -> downloads.Rows:
        """The rows of a zip, where there may be one. Raises QueryError."""
        if not context.allow_download:
            raise QueryError("This page does not hand out images; start it with --allow-download.")
        rows, _ = searches.rows_of(asked)
        downloads.check_zip(collection, rows)
        return rows

    @router.get("/originals")
    def originals(asked: Link) -> dict[str, int]:
        """How many images the zip has; asked first, as a browser shows no words of a download that is refused."""
        return {"images": len(allowed(asked))}

    @router.get("/originals.zip")
    def originals_zip(asked: Link) -> Response:
        """The image files of all results of a query."""
        parts = downloads.originals_zip(collection, allowed(asked))
        return StreamingResponse(parts, media_type="application/zip", headers=_as_file("originals.zip"))


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


def _added(uploads: Uploads, data: bytes, name: str) -> str:
    try:
        return uploads.add(data, name)
    except CpchubError as error:
        raise QueryError(f"This file cannot be searched with: {error}") from error


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LARGEST_UPLOAD:
            raise QueryError(f"This file is larger than {LARGEST_UPLOAD // 2**20} MB; use a smaller copy.")
    return bytes(data)

"""The small copies of images over HTTP: made when a browser asks, kept by it until the image changes."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from cpchub_serving.page.context import Context
from cpchub_serving.visit.thumbnails import PREVIEW, TILE

FOR_GOOD = "private, max-age=31536000, immutable"  # the address has the version of the image in it
ASK_AGAIN = "private, no-cache"


def routes(context: Context) -> APIRouter:
    """`/page/thumb/ROW` and `/page/preview/ROW`: WebP of at most 320 and 960 pixels. 404 for what cannot be shown."""
    router = APIRouter(include_in_schema=False)
    thumbnails, count = context.thumbnails, context.finder.count

    async def answer(request: Request, row: int, size: int, v: str) -> Response:
        if not 0 <= row < count:
            return Response(status_code=404, headers={"Cache-Control": "no-store"})
        version = thumbnails.version(row)
        headers = {"Cache-Control": FOR_GOOD if v == version else ASK_AGAIN, "ETag": f'"{version}-{size}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        image = thumbnails.kept(row, size)  # read here: a small file takes less time than a change of threads
        if image is None:
            loop = asyncio.get_running_loop()
            image = await loop.run_in_executor(thumbnails.pool, thumbnails.made, row, size)
        if image is None:  # gone, broken or a full disk: it may be there the next time
            return Response(status_code=404, headers={"Cache-Control": "no-store"})
        return Response(image, media_type="image/webp", headers=headers)

    @router.get("/page/thumb/{row}")
    async def thumb(request: Request, row: int, v: str = "") -> Response:
        return await answer(request, row, TILE, v)

    @router.get("/page/preview/{row}")
    async def preview(request: Request, row: int, v: str = "") -> Response:
        return await answer(request, row, PREVIEW, v)

    return router

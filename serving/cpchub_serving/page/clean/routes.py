"""What the Clean tab hands out: the marks as a table."""

from __future__ import annotations

from fastapi import APIRouter, Response

from cpchub_serving.page.context import Context
from cpchub_serving.visit.marks import as_csv


def routes(context: Context) -> APIRouter:
    """The addresses under `/page/clean`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/marks.csv")
    def marks_csv() -> Response:
        """All marks: path, mark, reason."""
        content = as_csv(context.cleaner.marks.now()).encode("utf-8", "surrogateescape")
        headers = {"Content-Disposition": 'attachment; filename="marks.csv"', "Cache-Control": "no-store"}
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)

    return router

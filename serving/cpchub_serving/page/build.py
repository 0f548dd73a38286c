"""The page of one collection: its head, its tabs, and the one endpoint of Gradio's client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import APIRouter, FastAPI

from cpchub.errors import QueryError
from cpchub_serving.page import clicks, markup, scripts, thumbs
from cpchub_serving.page.clean import routes as clean
from cpchub_serving.page.clean.tab import CleanTab
from cpchub_serving.page.context import Context
from cpchub_serving.page.encoders.tab import EncodersTab
from cpchub_serving.page.label.tab import LabelTab
from cpchub_serving.page.large import routes as large
from cpchub_serving.page.large.view import large_view
from cpchub_serving.page.map import routes as map_
from cpchub_serving.page.map.tab import MapTab
from cpchub_serving.page.messages import shown_errors
from cpchub_serving.page.search import routes as search
from cpchub_serving.page.search.tab import SearchTab
from cpchub_serving.page.style.theme import style_sheets, theme
from cpchub_serving.visit.finder import Finder

API_NEIGHBOURS = 12
MOST_API_NEIGHBOURS = 100
LARGEST_UPLOAD = "30mb"
# Seconds between two looks for uploads that are to go, and the age at which they go; the rest go when the page ends.
UPLOADS_KEPT = (3600, 86400)


@dataclass(frozen=True)
class Tab:
    """A tab: `draw` adds its components to the page, inside the tab that it is given.

    routes: what its scripts fetch, under `page/ID/` beside the page. Scripts write these addresses relative to the page
    ("page/map/points"): a page may have a prefix.
    """

    id: str
    title: str
    draw: Callable[[Context, gr.Tab], object]
    routes: Callable[[Context], APIRouter] | None = None


TABS = (
    Tab("search", "Search", lambda context, _: SearchTab(context), search.routes),
    Tab("label", "Label", lambda context, _: LabelTab(context)),
    Tab("map", "Map", lambda context, _: MapTab(context), map_.routes),
    Tab("clean", "Clean", CleanTab, clean.routes),
    Tab("encoders", "Encoders", lambda context, tab: EncodersTab(context).open(tab)),
)


def build(context: Context, title: str, name: str = "", menu: Sequence[tuple[str, str]] = ()) -> gr.Blocks:
    """The page of one collection. menu: name in the address and title of all collections served together, if several;
    name: which of them this is.
    """
    finder = context.finder
    # Analytics off: a page about somebody's images phones nobody.
    with gr.Blocks(
        title=f"{title} · cpchub", analytics_enabled=False, fill_width=True, delete_cache=UPLOADS_KEPT
    ) as page:
        clicks.html(
            markup.header(title, finder.count, finder.encoder_name, finder.dim) + markup.collections(menu, name)
        )
        with gr.Tabs(elem_id="tabs"):
            for tab in TABS:
                with gr.Tab(tab.title, id=tab.id) as drawn:
                    tab.draw(context, drawn)
        large_view()
        _add_endpoint(finder)
    return page


def add_page(app: FastAPI, context: Context, title: str, name: str, menu: Sequence[tuple[str, str]]) -> None:
    """Add the page at "/" of an application, and what its tabs fetch under "/page/"; see `build`."""
    app.include_router(scripts.routes())
    app.include_router(thumbs.routes(context))
    app.include_router(large.routes(context), prefix="/page/large")
    for tab in TABS:
        if tab.routes is not None:
            app.include_router(tab.routes(context), prefix=f"/page/{tab.id}")
    gr.mount_gradio_app(
        app,
        build(context, title, name, menu),
        "/",
        theme=theme(),
        css_paths=style_sheets(),
        footer_links=[],
        ssr_mode=False,
        show_error=False,
        max_file_size=LARGEST_UPLOAD,
    )


def _add_endpoint(finder: Finder) -> None:
    """The same search for programs: `gradio_client.Client(url).predict(..., api_name="/neighbours")`."""

    @shown_errors
    def neighbours(row: int, k: int = API_NEIGHBOURS) -> list[dict[str, Any]]:
        """The `k` images (at most 100) nearest to image `row`, best first: row, image and score of each."""
        for name, value in (("row", row), ("k", k)):
            if type(value) is not int:  # JSON has what Python's types do not promise: 3.7, true, "3"
                raise QueryError(f"{name}={value!r}: a whole number is needed.")
        if k > MOST_API_NEIGHBOURS:
            raise QueryError(f"k={k}: this page answers with at most {MOST_API_NEIGHBOURS} neighbours; ask for fewer.")
        found = finder.by_row(row, k).neighbours
        # Not "path": Gradio's client takes whatever has one for a file of the server's, and tries to download it.
        return [{"row": each.row, "picture": each.path, "score": each.score} for each in found]

    gr.api(neighbours, api_name="neighbours")

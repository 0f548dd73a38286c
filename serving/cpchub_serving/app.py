"""The demo page: one collection, searched and labelled in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from cpchub.common.words import counted
from cpchub.encoders.encoder import Encoder
from cpchub.encoders.load import load
from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import QueryError
from cpchub.index import Index
from cpchub_serving.page import clicks, loopback, markup, stopping
from cpchub_serving.page.context import Context
from cpchub_serving.page.encoders.tab import EncodersTab
from cpchub_serving.page.label.tab import LabelTab
from cpchub_serving.page.messages import shown_errors
from cpchub_serving.page.search.tab import SearchTab
from cpchub_serving.page.style.theme import style_sheets, theme
from cpchub_serving.process import stops
from cpchub_serving.process.port import check_port, unusable
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.thumbnails import Thumbnails

API_NEIGHBOURS = 12
MOST_API_NEIGHBOURS = 100
LARGEST_UPLOAD = "30mb"
# Seconds between two looks for uploads that are to go, and the age at which they go; the rest go when the page ends.
UPLOADS_KEPT = (3600, 86400)


def build(index: Index, encoder: ImageEncoder, *, thumbnails: Path | None = None) -> gr.Blocks:
    """The page over one collection. `thumbnails` is the folder of small copies (by default in the user's cache).

    Launch it with `launch_options()`, which hold the theme and the style sheet. Raises EncoderMismatchError if
    `encoder` is not the one that embedded the collection.
    """
    finder = Finder(index, encoder)
    context = Context(finder, Thumbnails(index.collection, thumbnails))
    # Only the thumbnails are served, never the folder of the images.
    gr.set_static_paths([context.thumbnails.folder])
    name = collection_name(index)
    # Analytics off: a page about somebody's images phones nobody.
    with gr.Blocks(
        title=f"{name} · cpchub", analytics_enabled=False, fill_width=True, delete_cache=UPLOADS_KEPT
    ) as page:
        clicks.html(markup.header(name, finder.count, finder.encoder_name, finder.dim))
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Search", id="search"):
                SearchTab(context)
            with gr.Tab("Label", id="label"):
                LabelTab(context)
            with gr.Tab("Encoders", id="encoders") as encoders:
                EncodersTab(context).open(encoders)
        _add_endpoint(finder)
    return page


def serve(
    collection_dir: str | Path,
    *,
    encoder: Encoder | str | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = False,
) -> bool:
    """Open the page on a collection folder and serve it until Ctrl-C or SIGTERM; then end it within five seconds.

    `encoder` is needed only where the collection's own cannot be found again by what its manifest says. `port` None
    takes the first free one from 7860 on. Returns whether all work has ended: False where a visitor's job still
    computes in a thread of this process. Raises what `Index.open` and `cpchub.load` raise, and ArgumentError for a
    port that is taken.
    """
    check_port(host, port)  # before the encoder is loaded
    index = Index.open(collection_dir)
    if encoder is None or isinstance(encoder, str):
        encoder = load(encoder or index.collection.encoder_to_load)
    with stopping.own_uploads(), stops.stops_interrupt():
        page = build(index, encoder)
        try:
            with loopback.asked_directly(host):
                _, url, _ = page.launch(
                    server_name=host,
                    server_port=port,
                    inbrowser=open_browser,
                    share=False,
                    quiet=True,
                    prevent_thread_lock=True,
                    _frontend=False,  # no second look at the page: on a busy machine its three seconds are not enough
                    **launch_options(),
                )
        except OSError as error:
            raise unusable(host, port, error) from error
        with stops.stops_noted() as stopped:
            print(f"{collection_name(index)}, {counted(len(index), 'image')}: {url}  (Ctrl-C stops)", flush=True)
            stopping.wait_until(stopped, page)
            return stopping.close(page)


def launch_options() -> dict[str, Any]:
    """What `Blocks.launch` needs to make the page look as it should and take no larger uploads than it should."""
    return {
        "theme": theme(),
        "css_paths": style_sheets(),
        "footer_links": ["api"],
        "ssr_mode": False,
        "max_file_size": LARGEST_UPLOAD,
    }


def collection_name(index: Index) -> str:
    """What the page calls the collection: the name of the folder its images come from."""
    return index.collection.source.name or "Images"


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

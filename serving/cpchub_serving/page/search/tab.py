"""The Search tab: from any image to its like, refined and filtered; the query is in the page's address."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from cpchub_serving.page import scripts
from cpchub_serving.page.context import Context

FRAME = Path(__file__).with_name("frame.html")


class SearchTab:
    """Adds the tab to the current `gr.Blocks`. Its script asks the addresses of `routes.py` for all that it shows."""

    def __init__(self, context: Context) -> None:
        gr.HTML(
            FRAME.read_text(encoding="utf-8"),
            js_on_load=scripts.start("search/search.js"),
            apply_default_css=False,
            elem_id="search-tab",
        )

"""The large view as a part of the page: a dialog, empty until an image is opened."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from cpchub_serving.page import scripts

FRAME = Path(__file__).with_name("frame.html")


def large_view() -> gr.HTML:
    """Add the large view to the current `gr.Blocks`, outside of its tabs: every tab opens it."""
    return gr.HTML(
        FRAME.read_text(encoding="utf-8"),
        js_on_load=scripts.start("large/large.js"),
        apply_default_css=False,
        elem_id="large-view",
    )

"""An image field that hands over the file as it was uploaded."""

from __future__ import annotations

from typing import Any

import gradio as gr


def image_input(**options: Any) -> gr.Image:
    """`gr.Image` without its decoding: cpchub reads the file itself, so orientation, limits and errors are its own.

    A subclass would be the usual way, but Gradio writes a `.pyi` file beside the module of each subclass. For the
    same reason events must answer this field with plain values: a `gr.update` makes Gradio build it anew.
    """
    field = gr.Image(type="filepath", image_mode=None, **options)
    field.preprocess = _uploaded_path
    return field


def _uploaded_path(payload: Any) -> str | None:
    """The uploaded file; Gradio has checked before that it lies in its upload folder."""
    return None if payload is None else payload.path

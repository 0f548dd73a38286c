"""Clicks on our own HTML, handed to Gradio."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import gradio as gr
from gradio import context as root

from cpchub.errors import QueryError
from cpchub_serving.visit.rows import check_row

CLICKS = """
const acts = ACTS;
const send = (event) => {
    const source = event.target.closest("[data-act]");
    if (!source || source.disabled || !acts.includes(source.dataset.act)) return;
    if ((source.tagName === "SELECT") !== (event.type === "change")) return;
    trigger(source.dataset.act, {arg: source.tagName === "SELECT" ? source.value : source.dataset.arg});
};
element.addEventListener("click", send);
element.addEventListener("change", send);
"""


def html(value: str, *, acts: Sequence[str] = (), elem_id: str | None = None) -> gr.HTML:
    """A piece of the page that can be drawn anew, with one event for each of `acts`."""
    return gr.HTML(
        value,
        js_on_load=CLICKS.replace("ACTS", json.dumps(list(acts))) if acts else None,
        apply_default_css=False,
        elem_id=elem_id,
    )


def read_arg(event: gr.EventData) -> str:
    """The `data-arg` of the clicked element, as text. Raises QueryError if a browser sends anything else."""
    data = event._data
    arg = data.get("arg") if isinstance(data, dict) else None
    if not isinstance(arg, str):
        raise QueryError(f"The page sent {data!r}, which asks for nothing known; reload it.")
    return arg


def read_row(event: gr.EventData, count: int) -> int:
    """The clicked element's row of the collection. Raises QueryError for one that is not there."""
    return check_row(read_arg(event), count)


@contextmanager
def beside_the_tabs() -> Iterator[None]:
    """Components of this block are of the page itself: Gradio draws those of a tab when it is first opened."""
    tab, root.Context.block = root.Context.block, root.Context.root_block
    try:
        yield
    finally:
        root.Context.block = tab

"""The Search tab: from an uploaded image, or any image of the collection, to its neighbours, and on from there."""

from __future__ import annotations

from typing import Any

import gradio as gr

from cpchub.errors import CpchubError, QueryError
from cpchub_serving.page import clicks, markup
from cpchub_serving.page.context import Context
from cpchub_serving.page.messages import shown_errors
from cpchub_serving.page.search.image_input import image_input
from cpchub_serving.visit.finder import Answer
from cpchub_serving.visit.rows import mixed_order
from cpchub_serving.visit.searching import Searching

NEIGHBOUR_CHOICES = (12, 24, 48)
BROWSE = 36  # images of the collection on one page
TRAIL_DEPTH = 50
TO_THE_ANSWER = '() => document.querySelector("#tabs").scrollIntoView({behavior: "smooth"})'


class SearchTab:
    """Builds the tab inside the current `gr.Blocks` and answers its events."""

    def __init__(self, context: Context) -> None:
        self.finder = context.finder
        self.thumbnails = context.thumbnails
        self.order = mixed_order(self.finder.count)
        start = Searching()
        state = gr.State(start)  # each visitor gets a copy
        with gr.Row(elem_classes="cpc-columns"):
            with gr.Column(scale=0, min_width=300, elem_classes="cpc-side"):
                image = image_input(
                    show_label=False,
                    sources=["upload", "clipboard"],
                    height=300,
                    buttons=[],
                    elem_id="query-image",
                    placeholder="Drop an image here\n- or -\nclick to choose one",
                )
                about = clicks.html(self._about(start, None), acts=["back"])
            with gr.Column(elem_classes="cpc-main"):
                results = clicks.html(self._results(start, None), acts=["query", "neighbours"], elem_id="neighbours")
                browse = clicks.html(self._browse(start), acts=["query", "turn"], elem_id="collection")

        answer = [state, image, about, results]
        waiting: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
        quiet = waiting | {"show_progress_on": results}
        image.upload(self.upload, [state, image], answer, concurrency_id="encoder", **quiet)
        image.clear(self.clear, [state], answer, **quiet)
        results.query(self.query, [state], answer, **quiet)
        browse.query(self.query, [state], answer, **quiet).success(
            None, None, None, js=TO_THE_ANSWER, api_visibility="private"
        )
        about.back(self.back, [state], answer, **quiet)
        results.neighbours(self.choose_count, [state], answer, **quiet)
        browse.turn(self.turn_page, [state], [state, browse], **waiting, show_progress_on=browse)

    # -- events -------------------------------------------------------------------------------------------------

    def upload(self, state: Searching, path: str | None) -> tuple[Any, ...]:
        """An image was dropped, pasted or chosen. One that cannot be read is refused and taken off the page again."""
        if path is None:
            return self.clear(state)
        try:
            return self._go(state, path)
        except CpchubError as error:
            gr.Warning(f"This file cannot be searched with: {error}.")
            return self.clear(state)

    def clear(self, state: Searching) -> tuple[Any, ...]:
        """The query was taken away."""
        state.trail = []
        return state, None, self._about(state, None), self._results(state, None)

    @shown_errors
    def query(self, state: Searching, event: gr.EventData) -> tuple[Any, ...]:
        """An image of the collection was clicked."""
        return self._go(state, clicks.read_row(event, self.finder.count))

    @shown_errors
    def back(self, state: Searching) -> tuple[Any, ...]:
        """Back to the query before this one."""
        if len(state.trail) < 2:
            return self.clear(state)
        earlier = state.trail[:-1]
        answer = self._ask(state, earlier[-1])
        state.trail = earlier
        return self._page(state, answer)

    @shown_errors
    def choose_count(self, state: Searching, event: gr.EventData) -> tuple[Any, ...]:
        """Another number of neighbours."""
        arg = clicks.read_arg(event)
        if arg not in map(str, NEIGHBOUR_CHOICES):
            raise QueryError(f"{arg!r} neighbours cannot be shown; choose one of {NEIGHBOUR_CHOICES}.")
        state.neighbours = int(arg)
        return self._page(state, self._ask(state, state.trail[-1])) if state.trail else self.clear(state)

    @shown_errors
    def turn_page(self, state: Searching, event: gr.EventData) -> tuple[Any, ...]:
        """Another page of the collection."""
        state.browse_page = markup.check_page(clicks.read_arg(event), BROWSE, self.finder.count)
        return state, self._browse(state)

    def _go(self, state: Searching, query: int | str) -> tuple[Any, ...]:
        answer = self._ask(state, query)
        if not state.trail or state.trail[-1] != query:
            state.trail = [*state.trail, query][-TRAIL_DEPTH:]
        return self._page(state, answer)

    def _ask(self, state: Searching, query: int | str) -> Answer:
        if isinstance(query, str):
            return self.finder.by_image(query, state.neighbours)
        return self.finder.by_row(query, state.neighbours)

    def _page(self, state: Searching, answer: Answer) -> tuple[Any, ...]:
        query = state.trail[-1]
        shown = query if isinstance(query, str) else self.thumbnails.preview(query)
        return state, shown and str(shown), self._about(state, answer), self._results(state, answer)

    # -- what is drawn ------------------------------------------------------------------------------------------

    def _about(self, state: Searching, answer: Answer | None) -> str:
        """The lines under the query image."""
        if not state.trail or answer is None:
            return markup.note("Drop, paste or choose an image; or click any image of the collection.")
        query = state.trail[-1]
        lines = []
        if isinstance(query, str):
            name = "Your image"
        else:
            name = self.finder.paths[query]
            facts = self.finder.facts(query)
            lines.append(("Size", f"{facts['width']} × {facts['height']}"))
            if facts["label"] is not None:
                lines.append(("Label", facts["label"]))
        if answer.encode_ms is not None:
            lines.append(("Encoded in", f"{answer.encode_ms:.0f} ms"))
        lines.append(("Searched in", f"{answer.search_ms:.1f} ms"))
        back = markup.button("← Back", "back") if len(state.trail) > 1 else ""
        return markup.facts(name, lines) + back

    def _results(self, state: Searching, answer: Answer | None) -> str:
        if answer is None:
            return markup.empty(
                "Nothing searched yet", "The images that look most like yours will appear here, each with its score."
            )
        controls = markup.choice(
            "neighbours", [(k, str(k)) for k in NEIGHBOUR_CHOICES], state.neighbours, "Number of neighbours"
        )
        count = len(answer.neighbours)
        typical = self.finder.typical_score
        detail = (
            f"{self.finder.how}. The score is the cosine: 1 is the same image, "
            f"{typical:.2f} is usual for two images of this collection."
        )
        title = f"{count} nearest image{'s' * (count != 1)}"
        if count == 0:
            return markup.heading(title) + markup.empty("No neighbours", "The collection holds no other image.")
        rows = [neighbour.row for neighbour in answer.neighbours]
        images = self.thumbnails.tiles(rows)
        cards = [
            markup.Tile(
                neighbour.row,
                markup.image_url(image),
                neighbour.path,
                f"{neighbour.score:.3f}",
                meter=(neighbour.score - typical) / max(1 - typical, 1e-6),
            )
            for neighbour, image in zip(answer.neighbours, images, strict=True)
        ]
        return markup.heading(title, detail, controls) + markup.grid(cards, "query", "Search with")

    def _browse(self, state: Searching) -> str:
        start = state.browse_page * BROWSE
        rows = self.order[start : start + BROWSE].tolist()
        images = self.thumbnails.tiles(rows)
        cards = [
            markup.Tile(row, markup.image_url(image), self.finder.paths[row])
            for row, image in zip(rows, images, strict=True)
        ]
        page = markup.pager(state.browse_page, BROWSE, self.finder.count)
        return markup.heading("The collection", "Click an image to search with it.", page) + markup.grid(
            cards, "query", "Search with"
        )

"""The Search tab: from an uploaded image, or any image of the collection, to its neighbours, and on from there."""

from __future__ import annotations

from typing import Any

import gradio as gr

from cpchub.errors import CpchubError, QueryError
from cpchub_serving.page import clicks, markup
from cpchub_serving.page.image_input import image_input
from cpchub_serving.page.messages import shown_errors
from cpchub_serving.visit.finder import Answer, Finder
from cpchub_serving.visit.session import Session, mixed_order
from cpchub_serving.visit.thumbnails import Thumbnails

NEIGHBOUR_CHOICES = (12, 24, 48)
BROWSE = 36  # images of the collection on one page
TRAIL_DEPTH = 50
TO_THE_ANSWER = '() => document.querySelector("#tabs").scrollIntoView({behavior: "smooth"})'


class SearchTab:
    """Builds the tab inside the current `gr.Blocks` and answers its events."""

    def __init__(self, finder: Finder, thumbnails: Thumbnails, session: gr.State) -> None:
        self.finder = finder
        self.thumbnails = thumbnails
        self.order = mixed_order(finder.count)
        start = Session(finder.count)
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

        answer = [session, image, about, results]
        waiting: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
        quiet = waiting | {"show_progress_on": results}
        image.upload(self.upload, [session, image], answer, concurrency_id="encoder", **quiet)
        image.clear(self.clear, [session], answer, **quiet)
        results.query(self.query, [session], answer, **quiet)
        browse.query(self.query, [session], answer, **quiet).success(
            None, None, None, js=TO_THE_ANSWER, api_visibility="private"
        )
        about.back(self.back, [session], answer, **quiet)
        results.neighbours(self.choose_count, [session], answer, **quiet)
        browse.turn(self.turn_page, [session], [session, browse], **waiting, show_progress_on=browse)

    # -- events -------------------------------------------------------------------------------------------------

    def upload(self, session: Session, path: str | None) -> tuple[Any, ...]:
        """An image was dropped, pasted or chosen. One that cannot be read is refused and taken off the page again."""
        if path is None:
            return self.clear(session)
        try:
            return self._go(session, path)
        except CpchubError as error:
            gr.Warning(f"This file cannot be searched with: {error}.")
            return self.clear(session)

    def clear(self, session: Session) -> tuple[Any, ...]:
        """The query was taken away."""
        session.trail = []
        return session, None, self._about(session, None), self._results(session, None)

    @shown_errors
    def query(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """An image of the collection was clicked."""
        return self._go(session, session.check_row(clicks.read_arg(event)))

    @shown_errors
    def back(self, session: Session) -> tuple[Any, ...]:
        """Back to the query before this one."""
        if len(session.trail) < 2:
            return self.clear(session)
        earlier = session.trail[:-1]
        answer = self._ask(session, earlier[-1])
        session.trail = earlier
        return self._page(session, answer)

    @shown_errors
    def choose_count(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """Another number of neighbours."""
        arg = clicks.read_arg(event)
        if arg not in map(str, NEIGHBOUR_CHOICES):
            raise QueryError(f"{arg!r} neighbours cannot be shown; choose one of {NEIGHBOUR_CHOICES}.")
        session.neighbours = int(arg)
        return self._page(session, self._ask(session, session.trail[-1])) if session.trail else self.clear(session)

    @shown_errors
    def turn_page(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """Another page of the collection."""
        session.browse_page = markup.check_page(clicks.read_arg(event), BROWSE, self.finder.count)
        return session, self._browse(session)

    def _go(self, session: Session, query: int | str) -> tuple[Any, ...]:
        answer = self._ask(session, query)
        if not session.trail or session.trail[-1] != query:
            session.trail = [*session.trail, query][-TRAIL_DEPTH:]
        return self._page(session, answer)

    def _ask(self, session: Session, query: int | str) -> Answer:
        if isinstance(query, str):
            return self.finder.by_image(query, session.neighbours)
        return self.finder.by_row(query, session.neighbours)

    def _page(self, session: Session, answer: Answer) -> tuple[Any, ...]:
        query = session.trail[-1]
        shown = query if isinstance(query, str) else self.thumbnails.preview(query)
        return session, shown and str(shown), self._about(session, answer), self._results(session, answer)

    # -- what is drawn ------------------------------------------------------------------------------------------

    def _about(self, session: Session, answer: Answer | None) -> str:
        """The lines under the query image."""
        if not session.trail or answer is None:
            return markup.note("Drop, paste or choose an image; or click any image of the collection.")
        query = session.trail[-1]
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
        back = markup.button("← Back", "back") if len(session.trail) > 1 else ""
        return markup.facts(name, lines) + back

    def _results(self, session: Session, answer: Answer | None) -> str:
        if answer is None:
            return markup.empty(
                "Nothing searched yet", "The images that look most like yours will appear here, each with its score."
            )
        controls = markup.choice(
            "neighbours", [(k, str(k)) for k in NEIGHBOUR_CHOICES], session.neighbours, "Number of neighbours"
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

    def _browse(self, session: Session) -> str:
        start = session.browse_page * BROWSE
        rows = self.order[start : start + BROWSE].tolist()
        images = self.thumbnails.tiles(rows)
        cards = [
            markup.Tile(row, markup.image_url(image), self.finder.paths[row])
            for row, image in zip(rows, images, strict=True)
        ]
        page = markup.pager(session.browse_page, BROWSE, self.finder.count)
        return markup.heading("The collection", "Click an image to search with it.", page) + markup.grid(
            cards, "query", "Search with"
        )

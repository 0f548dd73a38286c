"""The Clean tab: duplicates, outliers and broken files as queues; what goes is marked, and nothing is deleted."""

from __future__ import annotations

from typing import Any

import gradio as gr

from cpchub.errors import QueryError
from cpchub_serving.page import clicks, markup
from cpchub_serving.page.clean import panels
from cpchub_serving.page.context import Context
from cpchub_serving.page.messages import shown_errors
from cpchub_serving.visit.cleaning import A_PAGE, BROKEN, DUPLICATES, OUTLIERS, SHOWN, TO_DO, Cleaning

EVERY = 1.0  # seconds between two looks at the comparison
ABOUT = {
    DUPLICATES: "Click an image to mark it for removal; click again to take the mark away.",
    OUTLIERS: "The most unusual first, with the mean cosine to their neighbours. Click those that do not belong here.",
    BROKEN: "Files that could not be read when the collection was embedded, and why.",
}
NOTHING = {
    DUPLICATES: "No duplicates here",
    OUTLIERS: "No outliers here",
    BROKEN: "No broken files here",
}


class CleanTab:
    """Builds the tab inside the current `gr.Blocks` and answers its events; it begins when `tab` is first opened."""

    def __init__(self, context: Context, tab: gr.Tab) -> None:
        self.thumbnails = context.thumbnails
        self.cleaner = context.cleaner
        state = gr.State(Cleaning())  # each visitor gets a copy
        with gr.Row(elem_classes="cpc-columns"):
            with gr.Column(scale=0, min_width=300, elem_classes="cpc-side"):
                side = clicks.html("", acts=["queue"], elem_id="clean-side")
            with gr.Column(elem_classes="cpc-main"):
                acts = ["show", "turn", "mark", "rest", "all", "broken", "copies", "rest_of_page", "undo"]
                board = clicks.html("", acts=acts, elem_id="clean-board")
        timer = gr.Timer(EVERY, active=False)

        drawn = [state, side, board]
        # Quick clicks must all count, hence "multiple"; one at a time, so that they are applied in order.
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "trigger_mode": "multiple",
            "concurrency_id": "marks",
            "concurrency_limit": 1,
        }
        tab.select(self.first, [state], [*drawn, timer], **quiet)
        timer.tick(self.look, [state], [*drawn, timer], **quiet)
        side.queue(self.act("queue"), [state], drawn, **quiet)
        for name in acts:
            getattr(board, name)(self.act(name), [state], drawn, **quiet)

    # -- events -------------------------------------------------------------------------------------------------

    def first(self, state: Cleaning) -> tuple[Any, ...]:
        """The tab was opened: the images are compared from now on, and what is on the page is drawn anew."""
        self.cleaner.checks.open()
        return self.look(state)

    @shown_errors
    def look(self, state: Cleaning) -> tuple[Any, ...]:
        """See how far the comparison is."""
        busy = self.cleaner.checks.job.progress.state in ("waiting", "running")
        if state.places is None and (not busy or state.queue == BROKEN):
            self.cleaner.turn(state)
        return *self._drawn(state), gr.Timer(active=busy)

    def act(self, name: str) -> Any:
        """What answers an event of this name."""

        @shown_errors
        def answer(state: Cleaning, event: gr.EventData) -> tuple[Any, ...]:
            self._do(name, state, clicks.read_arg(event))
            return self._drawn(state)

        return answer

    def _do(self, name: str, state: Cleaning, arg: str) -> None:
        cleaner = self.cleaner
        if name == "queue":
            cleaner.turn(state, queue=arg, shown=TO_DO)
        elif name == "show":
            cleaner.turn(state, shown=arg)
        elif name == "turn":
            cleaner.turn(state, page=markup.check_page(arg, A_PAGE[state.queue], state.total))
        elif name == "mark":
            cleaner.toggle(state, arg)
        elif name == "broken":
            cleaner.toggle_broken(state, arg)
        elif name == "rest":
            cleaner.keep_first(state, arg)
        elif name == "all":
            cleaner.keep_all(state, arg)
        elif name == "copies":
            cleaner.remove_copies(state)
        elif name == "rest_of_page":
            cleaner.keep_page(state)
        elif not cleaner.undo(state):
            raise QueryError("There is nothing to undo.")

    # -- what is drawn ------------------------------------------------------------------------------------------

    def _drawn(self, state: Cleaning) -> tuple[Any, ...]:
        return state, panels.side(self.cleaner, state), self._board(state)

    def _board(self, state: Cleaning) -> str:
        checks, queue = self.cleaner.checks, state.queue
        if checks.found is None and queue != BROKEN:
            return markup.heading(panels.NAMES[queue]) + panels.waiting(checks.job.progress)
        if state.places is None:
            self.cleaner.turn(state)
        places = state.places or []
        head = markup.heading(panels.NAMES[queue], ABOUT[queue], self._tools(state))
        if queue == DUPLICATES and checks.found and checks.found.groups:
            head += panels.about_duplicates(checks.found)
        if not places:
            return head + markup.empty(NOTHING[queue], self._advice(state))
        if queue == DUPLICATES:
            body = "".join(panels.group(self.cleaner, self.thumbnails, place) for place in places)
        elif queue == OUTLIERS:
            body = panels.outliers(self.cleaner, self.thumbnails, places)
        else:
            body = panels.broken(self.cleaner, places)
        return head + body + markup.pager(state.page, A_PAGE[queue], state.total)

    def _tools(self, state: Cleaning) -> str:
        options = [(name, name.capitalize()) for name in SHOWN]
        tools = markup.choice("show", options, state.shown, "What is shown")
        if state.queue == DUPLICATES and state.total:
            tools += markup.button("Mark all copies", "copies")
        if state.queue == OUTLIERS and state.total:
            tools += markup.button("Keep the rest of this page", "rest_of_page")
        return f'<div class="cpc-tools">{tools}{markup.button("Undo", "undo", disabled=not state.steps)}</div>'

    def _advice(self, state: Cleaning) -> str:
        total, left = self.cleaner.sizes(state.queue)
        if total == 0:
            return "Nothing of the kind was found in this collection."
        if state.shown == TO_DO and left == 0:
            return "Something is said of each of them. Choose Marked to see it again."
        return "Choose To do or All to see others."

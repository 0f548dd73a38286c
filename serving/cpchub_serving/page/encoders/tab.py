"""The Encoders tab: the catalog, cards side by side, and another encoder tried on a sample of the collection."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from cpchub_serving.page import clicks, markup
from cpchub_serving.page.context import Context
from cpchub_serving.page.encoders import cards
from cpchub_serving.page.messages import shown_errors
from cpchub_serving.visit.comparing import Comparing
from cpchub_serving.visit.encoder_facts import Catalog
from cpchub_serving.visit.trial import Trial, Trials

NEIGHBOURS = 8
QUERIES = 8
EVERY = 1.0  # seconds between two looks at a trial that runs


class EncodersTab:
    """Builds the tab inside the current `gr.Blocks` and answers its events."""

    def __init__(self, context: Context) -> None:
        self.finder = context.finder
        self.thumbnails = context.thumbnails
        self.catalog = Catalog()
        self.trials = Trials(self.finder.index)
        start = Comparing()
        state = gr.State(start)  # each visitor gets a copy
        with gr.Row(elem_classes="cpc-columns"):
            with gr.Column(scale=0, min_width=300, elem_classes="cpc-side"):
                text = gr.Textbox(
                    placeholder="Find: resnet50 imagenet", show_label=False, container=False, elem_id="find-encoder"
                )
                listed = clicks.html("", acts=["card"], elem_id="encoders")
            with gr.Column(elem_classes="cpc-main"):
                trial = clicks.html("", acts=["query"], elem_id="trial")
                shown = clicks.html(cards.cards([], "", 0), acts=["card", "try"], elem_id="encoder-cards")
        timer = gr.Timer(EVERY, active=False)

        # All of several quick clicks count.
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "multiple"}
        drawn = [state, listed, shown]
        text.change(self.find, [state, text], [state, listed], **(quiet | {"trigger_mode": "always_last"}))
        listed.card(self.card, [state], drawn, **quiet)
        shown.card(self.card, [state], drawn, **quiet)
        getattr(shown, "try")(self.start, [state], [state, trial, timer], **quiet)
        timer.tick(self.look, [state], [trial, timer], **(quiet | {"trigger_mode": "once"}))
        trial.query(self.query, [state], [state, trial], **quiet)
        self._shown_first = (state, drawn)

    def open(self, tab: gr.Tab) -> None:
        """Read the catalog when the tab is first opened: most visitors come to search."""
        state, drawn = self._shown_first
        tab.select(self.first, [state], drawn, show_progress="hidden", api_visibility="private")

    # -- events -------------------------------------------------------------------------------------------------

    def first(self, state: Comparing) -> tuple[Any, ...]:
        """The tab was opened: the encoder of the collection is shown, unless cards are open."""
        own = self.finder.encoder_name
        if not state.chosen and any(each.name == own for each in self.catalog.encoders):
            state.toggle(own)
        return self._drawn(state)

    def find(self, state: Comparing, text: str) -> tuple[Any, ...]:
        """Words were entered."""
        state.text = text
        return state, self._list(state)

    @shown_errors
    def card(self, state: Comparing, event: gr.EventData) -> tuple[Any, ...]:
        """An encoder was clicked: its card is opened, or put away."""
        state.toggle(self.catalog.named(clicks.read_arg(event)).name)
        return self._drawn(state)

    @shown_errors
    def start(self, state: Comparing, event: gr.EventData) -> tuple[Any, ...]:
        """An encoder is to be tried."""
        known = self.catalog.named(clicks.read_arg(event))
        self.trials.start(known.name)
        state.tried, state.query = known.name, None
        return state, self._trial(state), gr.Timer(active=True)

    def look(self, state: Comparing) -> tuple[Any, ...]:
        """See how far the trial is."""
        trial = self._of(state)
        return self._trial(state), gr.Timer(active=trial is not None and trial.running)

    @shown_errors
    def query(self, state: Comparing, event: gr.EventData) -> tuple[Any, ...]:
        """An image of the sample was clicked."""
        state.query = clicks.read_row(event, self.finder.count)
        return state, self._trial(state)

    # -- what is drawn ------------------------------------------------------------------------------------------

    def _drawn(self, state: Comparing) -> tuple[Any, ...]:
        chosen = [self.catalog.named(name) for name in state.chosen]
        sample = len(self.trials.sample)
        return state, self._list(state), cards.cards(chosen, self.finder.encoder_name, sample)

    def _list(self, state: Comparing) -> str:
        return cards.encoder_list(self.catalog.matching(state.text), state.chosen, self.finder.encoder_name)

    def _of(self, state: Comparing) -> Trial | None:
        return None if state.tried is None else self.trials.get(state.tried)

    def _trial(self, state: Comparing) -> str:
        trial = self._of(state)
        if trial is None:
            return ""
        sample = trial.embedded
        if sample is None:
            return markup.heading("A trial") + cards.progress(trial)
        own = self.finder.encoder_name
        said = cards.verdict(self.trials.agreement(sample), own, trial.encoder, len(sample.rows))
        offered = np.random.default_rng(1).permutation(sample.rows)[:QUERIES].tolist()
        query = state.query if state.query is not None else offered[0]
        pair = self.trials.side_by_side(sample, query, NEIGHBOURS)
        head = markup.heading(f"{len(sample.rows):,} images under two encoders", said)
        choose = f"<h3>Search with one of these</h3>{self._grid([(row, None) for row in offered])}"
        name = escape(Path(self.finder.paths[query]).name)
        both = f"{pair.shared} of {len(pair.today)} are found by both"
        return (
            f'{head}<div class="cpc-trial">{choose}<h3>Nearest to {name}; {both}. With {escape(own)}:</h3>'
            f"{self._grid(pair.today)}<h3>With {escape(trial.encoder)}:</h3>{self._grid(pair.tried)}</div>"
        )

    def _grid(self, found: Sequence[tuple[int, float | None]]) -> str:
        tiles = [
            markup.Tile(row, self.thumbnails.url(row), self.finder.paths[row], "" if score is None else f"{score:.3f}")
            for row, score in found
        ]
        return markup.grid(tiles, "query", "Search with")

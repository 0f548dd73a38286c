"""The Label tab: name classes, label images by click or key, and see the rest classified as the labels come in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr
from gradio import context as root

from cpchub.errors import CpchubError, QueryError
from cpchub_serving.page import clicks, markup, scripts
from cpchub_serving.page.context import Context
from cpchub_serving.page.label import accuracy
from cpchub_serving.page.label.answered import answered, answered_with_images
from cpchub_serving.page.label.board import PER_PAGE, board, shown_rows, wire
from cpchub_serving.page.label.class_panel import class_panel
from cpchub_serving.page.label.files import FilePane
from cpchub_serving.page.label.keys import keys_dialog
from cpchub_serving.page.label.message import read_message
from cpchub_serving.visit.queues import queue
from cpchub_serving.visit.session import Session

SETTLED = 0.4  # seconds without another label, after which the classifiers are compared; the next click comes first
LOOK_AGAIN = 2.0  # seconds between two looks for labels of other visitors
CHOSEN_BEFORE = '() => [null, localStorage.getItem("cpchub-label-set " + location.pathname) || ""]'


class LabelTab:
    """Builds the tab inside the current `gr.Blocks` and answers its events."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.sets = context.label_sets
        self.features = context.finder.features
        self.state = gr.State(None)  # a session, made when the page is opened
        # What is chosen first, the images, and what follows from the labels: on a phone from top to bottom.
        with gr.Row(elem_classes=["cpc-columns", "cpc-label"]):
            with gr.Column(scale=0, min_width=0, elem_classes=["cpc-side", "cpc-label-side"]):
                self._build_choices()
            with gr.Column(min_width=0, elem_classes="cpc-main"):
                self.images = clicks.html("", acts=["queue", "turn"], elem_id="label-board")
            with gr.Column(scale=0, min_width=0, elem_classes="cpc-label-found"):
                self._build_found()
        clicks.html(keys_dialog())
        with clicks.beside_the_tabs():  # there before the tab is seen, for the other tabs label through its script
            self.wire = gr.HTML(
                "",
                js_on_load=scripts.start("label/label.js")
                + '// it triggers "say"',  # Gradio looks for the event's name
                visible="hidden",
                apply_default_css=False,
                elem_id="label-wire",
            )
        self.stamp = gr.Textbox(visible="hidden")  # which labels are drawn; when it changes they are judged
        self._listen()

    def _build_choices(self) -> None:
        self.chosen = gr.Dropdown(
            self.sets.names(),
            label="Label set",
            info="Choose one, or write a new name",
            allow_custom_value=True,
            elem_id="label-set",
        )
        with gr.Row(elem_classes="cpc-add"):
            self.names = gr.Textbox(
                placeholder="Classes: cat, dog", show_label=False, container=False, max_lines=1, elem_id="class-names"
            )
            self.add_button = gr.Button("Add", variant="primary", scale=0, min_width=72, elem_id="add-class")
        self.panel = clicks.html("", acts=["activate", "drop", "queue"], elem_id="class-panel")
        with gr.Row(elem_classes="cpc-exports"):
            self.undo_button = gr.Button("Undo", size="sm", min_width=60, elem_id="undo")
            self.redo_button = gr.Button("Redo", size="sm", min_width=60, elem_id="redo")
        self.estimate = clicks.html("", elem_id="estimate")

    def _build_found(self) -> None:
        self.needed = clicks.html("", acts=["aim"], elem_id="needed")
        self.confusion = clicks.html("", elem_id="confusion")
        self.least = gr.Slider(
            0, 100, 0, step=1, label="Left unsaid below this confidence (%)", elem_id="least", buttons=[]
        )
        self.files = FilePane(self.context, self.state)

    def _listen(self) -> None:
        state, drawn = [self.state], [self.state, self.panel, self.wire, self.stamp]
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        # Quick clicks must all count, hence "multiple". Whatever draws the labels is done one at a time, so that the
        # last answer is about the last change.
        quick = hidden | {"trigger_mode": "multiple", "concurrency_id": "labels", "concurrency_limit": 1}
        latest = hidden | {"trigger_mode": "always_last"}
        # Of queues that are chosen quickly the last one is drawn last. Gradio's "once" forgets it while the one before
        # is drawn, and its "always_last" forgets what an event says.
        paging: dict[str, Any] = quick | {"concurrency_id": "queues"}
        paging |= {"show_progress": "minimal", "show_progress_on": self.images}
        opened = [self.state, self.images, self.chosen]
        page = root.Context.root_block
        assert page is not None  # or the components above would not be there
        page.load(self.start, [self.state, self.stamp], opened, js=CHOSEN_BEFORE, **hidden).then(
            self.drawn, state, drawn, **quick
        )
        self.chosen.input(self.open, [self.state, self.chosen], opened, **paging).then(
            self.drawn, state, drawn, **quick
        )
        added = [*drawn, self.names]
        gr.on([self.add_button.click, self.names.submit], self.add, [self.state, self.names], added, **quick)
        self.panel.activate(self.activate, state, drawn, **quick)
        self.panel.drop(self.remove, state, drawn, **quick)
        self.wire.say(self.say, state, drawn, **quick)
        self.undo_button.click(self.undo, state, drawn, **quick)
        self.redo_button.click(self.redo, state, drawn, **quick)
        for event, answer in (
            (self.images.queue, self.choose_queue),
            (self.panel.queue, self.choose_queue),
            (self.images.turn, self.turn_page),
        ):
            event(answer, state, [self.state, self.images], **paging).then(self.drawn, state, drawn, **quick)
        self.least.input(
            self.choose_least, [self.state, self.least], drawn, **(quick | {"trigger_mode": "always_last"})
        )
        judged = [self.estimate, self.needed, self.confusion]
        self.stamp.change(self.judge, state, judged, **latest).then(self.drawn, state, drawn, **quick)
        self.needed.aim(self.aim, state, [self.needed], **(quick | {"concurrency_id": "targets"}))
        self.files.listen(self.imported, drawn, quick)
        # Each look is asked for, even while the one before is not answered. The server ends its stream of answers when
        # none is due; for an event that is on its way just then the browser opens no other. The next look does.
        gr.Timer(LOOK_AGAIN).tick(self.look_again, state, drawn, **quick)

    # -- events -------------------------------------------------------------------------------------------------

    def start(self, _: None, before: str) -> tuple[Any, ...]:
        """The page was opened: a new visit of the set that this browser had open before."""
        session = Session(uuid4().hex)
        if before in self.sets.names():
            session.set_name = before
        return self._opened(session)

    def open(self, session: Session | None, name: str) -> tuple[Any, ...]:
        """Another label set was chosen, or a new one named."""
        session = session or Session(uuid4().hex)
        try:
            self.sets.open(name).refresh()
            session.open(name)
        except CpchubError as error:
            gr.Warning(str(error))
        return self._opened(session)

    def add(self, session: Session | None, names: str) -> tuple[Any, ...]:
        """Class names were entered; what was refused stays in the field."""
        session = session or Session(uuid4().hex)
        try:
            session.add_classes(self.sets.open(session.set_name), names)
            names = ""
        except CpchubError as error:
            gr.Warning(str(error))
        return *self.drawn(session), names

    @answered
    def activate(self, session: Session, event: gr.EventData) -> None:
        """Another class is to be given by the next clicks."""
        session.activate(self.sets.open(session.set_name), clicks.read_arg(event))

    @answered
    def remove(self, session: Session, event: gr.EventData) -> None:
        """A class and its labels are to go."""
        session.remove_class(self.sets.open(session.set_name), clicks.read_arg(event))

    @answered
    def say(self, session: Session, event: gr.EventData) -> None:
        """Images were clicked or given a class by a key: `{"number", "rows", "said"}`; without "said" as `click`."""
        number, rows, said = read_message(clicks.read_arg(event))
        session.heard = max(session.heard, number)
        labels = self.sets.open(session.set_name)
        if said is ...:
            session.click(labels, rows[0])
        else:
            session.say(labels, rows, said)

    @answered
    def undo(self, session: Session) -> None:
        """One step back."""
        session.undo(self.sets.open(session.set_name))

    @answered
    def redo(self, session: Session) -> None:
        """One step forth again."""
        session.redo(self.sets.open(session.set_name))

    @answered_with_images
    def choose_queue(self, session: Session, event: gr.EventData) -> None:
        """Another queue, or the same one with the newest labels."""
        name = clicks.read_arg(event)
        now = self.sets.open(session.set_name).refresh()
        found = self.sets.learned(session.set_name).predictions(self.features, now)
        session.offer(name, queue(name, self.features, now, found))

    @answered_with_images
    def turn_page(self, session: Session, event: gr.EventData) -> None:
        """Another page of images."""
        total = shown_rows(session, len(self.features))[1]
        session.page = markup.check_page(clicks.read_arg(event), PER_PAGE, total)

    @answered
    def choose_least(self, session: Session, percent: float) -> None:
        """Predictions that are less sure are left unsaid from now on."""
        session.least = min(max(percent / 100, 0.0), 1.0)

    def look_again(self, session: Session | None) -> Any:
        """Draw what other visitors, or another process, have changed since."""
        try:
            if session is None or self._version(session) == session.seen:
                return (gr.skip(),) * 4
        except CpchubError:  # said with the next change; every other second would be too often
            return (gr.skip(),) * 4
        return self.drawn(session)

    @answered
    def imported(self, session: Session, file: str | None) -> None:
        """A CSV of labels was uploaded."""
        if file is not None:
            gr.Info(self.files.take(session, Path(file)))

    def judge(self, session: Session) -> tuple[Any, ...]:
        """Compare the classifiers and estimate the accuracy; after the labels are drawn, as it takes many fits."""
        try:
            labels = self.sets.open(session.set_name)
            now = labels.now
            time.sleep(SETTLED)
            if labels.now.version != now.version:
                return (gr.skip(),) * 3  # this is called again for the newer ones
            judged = self.sets.learned(session.set_name).judge(self.features, now)
        except CpchubError:  # shown where it was drawn
            return "", "", ""
        return (
            accuracy.estimate_card(now, judged),
            accuracy.needed_card(judged, session.target),
            accuracy.confusion_table(None if judged is None else judged.estimate),
        )

    def aim(self, session: Session, event: gr.EventData) -> str:
        """Another accuracy to reach."""
        try:
            arg = clicks.read_arg(event)
            if arg not in {f"{each:g}" for each in accuracy.TARGETS}:
                raise QueryError(f"There is no target {arg!r}.")
            session.aim_at(float(arg))
        except CpchubError as error:
            gr.Warning(str(error))
        known = self.sets.learned(session.set_name).known(self.sets.open(session.set_name).now)
        return accuracy.needed_card(known, session.target)

    # -- what is drawn ------------------------------------------------------------------------------------------

    def drawn(self, session: Session) -> tuple[Any, ...]:
        """The session, the classes, what the tiles say, and which labels that shows."""
        try:
            labels = self.sets.open(session.set_name)
            session.seen = self._version(session)
            now = labels.now
            found = self.sets.learned(session.set_name).predictions(self.features, now)
        except CpchubError as error:
            return session, markup.empty("This label set cannot be used", str(error)), "", session.set_name
        panel = class_panel(now, found, session.active_in(now), session.least)
        text = wire(session, now, found, len(self.features))
        return session, panel, text, f"{session.set_name} {session.seen[1]}"

    def board(self, session: Session) -> str:
        """A page of the queue."""
        try:
            now = self.sets.open(session.set_name).now
            found = self.sets.learned(session.set_name).predictions(self.features, now)
        except CpchubError:
            return markup.empty("No images here", "Choose another label set.")
        return board(self.context, session, now, found)

    def _opened(self, session: Session) -> tuple[Any, ...]:
        names = sorted({*self.sets.names(), session.set_name}, key=str.casefold)
        return session, self.board(session), gr.update(choices=names, value=session.set_name)

    def _version(self, session: Session) -> tuple[str, int]:
        return session.set_name, self.sets.open(session.set_name).refresh().version

"""The Label tab: name classes, click a few images, and see the rest classified as the labels come in."""

from __future__ import annotations

from typing import Any

import gradio as gr

from cpchub_serving.page import clicks, markup
from cpchub_serving.page.context import Context
from cpchub_serving.page.label.class_panel import class_panel, estimate_card
from cpchub_serving.page.messages import shown_errors
from cpchub_serving.visit.session import Session

PER_PAGE = 48
VIEW_NAMES = (
    ("mixed", "Mixed"),
    ("unsure", "Unsure"),
    ("sure", "Sure"),
    ("labelled", "Labelled"),
)
SAVE = """
(name, text) => {
    if (!text) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
"""


class LabelTab:
    """Builds the tab inside the current `gr.Blocks` and answers its events."""

    def __init__(self, context: Context) -> None:
        self.finder = context.finder
        self.thumbnails = context.thumbnails
        start = Session(self.finder.count)
        session = gr.State(start)  # each visitor gets a copy
        with gr.Row(elem_classes="cpc-columns"):
            with gr.Column(scale=0, min_width=300, elem_classes="cpc-side"):
                with gr.Row(elem_classes="cpc-add"):
                    names = gr.Textbox(
                        placeholder="Classes: cat, dog",
                        show_label=False,
                        container=False,
                        max_lines=1,
                        elem_id="class-names",
                    )
                    add = gr.Button("Add", variant="primary", scale=0, min_width=72, elem_id="add-class")
                panel = clicks.html(class_panel(start), acts=["activate", "drop"], elem_id="class-panel")
                estimate = clicks.html(estimate_card(start, None), elem_id="estimate")
                with gr.Row(elem_classes="cpc-exports"):
                    undo = gr.Button("Undo", size="sm", min_width=60, elem_id="undo")
                    save_labels = gr.Button("Labels CSV", size="sm", min_width=80, elem_id="save-labels")
                    save_predictions = gr.Button(
                        "Predictions CSV", size="sm", min_width=110, elem_id="save-predictions"
                    )
                file_name = gr.Textbox(visible="hidden")
                file_text = gr.Textbox(visible="hidden")
            with gr.Column(elem_classes="cpc-main"):
                board = clicks.html(self._board(start), acts=["mark", "sort", "only", "turn"], elem_id="label-board")

        drawn = [session, panel, board]
        # Quick clicks must all count, hence "multiple"; one at a time, so that they are applied in order.
        quiet: dict[str, Any] = {
            "show_progress": "minimal",
            "show_progress_on": board,
            "api_visibility": "private",
            "trigger_mode": "multiple",
            "concurrency_id": "labels",
            "concurrency_limit": 1,
        }
        gr.on([add.click, names.submit], self.add, [session, names], [*drawn, names], **quiet)
        panel.activate(self.activate, [session], drawn, **quiet)
        panel.drop(self.remove, [session], drawn, **quiet)
        board.mark(self.label, [session], drawn, **quiet)
        board.sort(self.choose_view, [session], drawn, **quiet)
        board.only(self.choose_class, [session], drawn, **quiet)
        board.turn(self.turn_page, [session], drawn, **quiet)
        undo.click(self.undo, [session], drawn, **quiet)
        panel.change(
            self.estimate,
            [session],
            [estimate],
            show_progress="hidden",
            api_visibility="private",
            trigger_mode="always_last",
        )
        for save, write in ((save_labels, self.labels_file), (save_predictions, self.predictions_file)):
            save.click(
                write, [session], [file_name, file_text], show_progress="hidden", api_visibility="private"
            ).success(None, [file_name, file_text], None, js=SAVE, api_visibility="private")

    # -- events -------------------------------------------------------------------------------------------------

    @shown_errors
    def add(self, session: Session, names: str) -> tuple[Any, ...]:
        """Class names were entered."""
        session.add_classes(names)
        return *self._drawn(session), ""

    @shown_errors
    def activate(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """Another class is to be given by the next clicks."""
        session.activate(clicks.read_arg(event))
        return self._drawn(session)

    @shown_errors
    def remove(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """A class and its labels are to go."""
        session.remove_class(clicks.read_arg(event))
        session.classify(self.finder.features)
        return self._drawn(session)

    @shown_errors
    def label(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """An image was clicked: it gets the active class, or loses it."""
        session.click(clicks.read_row(event, self.finder.count))
        session.classify(self.finder.features)
        return self._drawn(session)

    def undo(self, session: Session) -> tuple[Any, ...]:
        """One step back."""
        if session.undo():
            session.classify(self.finder.features)
        return self._drawn(session)

    @shown_errors
    def choose_view(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """Another order of the images, or the same one with the newest labels."""
        session.arrange(view=clicks.read_arg(event), features=self.finder.features)
        return self._drawn(session)

    @shown_errors
    def choose_class(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """One class only, or all."""
        session.arrange(only=clicks.read_arg(event), features=self.finder.features)
        return self._drawn(session)

    @shown_errors
    def turn_page(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        """Another page of images."""
        session.label_page = markup.check_page(clicks.read_arg(event), PER_PAGE, len(session.order))
        return self._drawn(session)

    def estimate(self, session: Session) -> str:
        """Refresh the accuracy estimate; runs after the labels are drawn, as it takes many fits."""
        return estimate_card(session, session.estimate(self.finder.features))

    @shown_errors
    def labels_file(self, session: Session) -> tuple[str, str]:
        """Name and text of the file of labels."""
        return "labels.csv", session.labels_csv(self.finder.paths)

    @shown_errors
    def predictions_file(self, session: Session) -> tuple[str, str]:
        """Name and text of the file of predictions."""
        return "predictions.csv", session.predictions_csv(self.finder.paths)

    # -- what is drawn ------------------------------------------------------------------------------------------

    def _drawn(self, session: Session) -> tuple[Any, ...]:
        return session, class_panel(session), self._board(session)

    def _board(self, session: Session) -> str:
        rows = session.order
        controls = markup.choice("sort", VIEW_NAMES, session.view, "Order") + markup.menu(
            "only", [("", "All classes"), *((name, name) for name in session.classes)], session.only or "", "Class"
        )
        head = markup.heading("Images", self._advice(session), f'<div class="cpc-tools">{controls}</div>')
        shown = rows[session.label_page * PER_PAGE : (session.label_page + 1) * PER_PAGE].tolist()
        if not shown:
            return head + markup.empty("No images here", "Choose another order or another class.")
        cards = [self._card(session, row, self.thumbnails.url(row)) for row in shown]
        return head + markup.grid(cards, "mark", "Label") + markup.pager(session.label_page, PER_PAGE, len(rows))

    def _advice(self, session: Session) -> str:
        labelled = sum(1 for count in session.counts().values() if count)
        if not session.classes:
            return "Add two or more classes, then click a few images of each."
        if session.predictions is None:
            missing = "one image of each class" if labelled == 0 else "images of one more class"
            return f"Now click {missing}; everything else is classified from then on."
        if session.view == "mixed":
            return f"Clicks label as “{session.active}”. The order Unsure finds the images most worth a label."
        return f"Clicks label as “{session.active}”. Choose the order again to sort with the newest labels."

    def _card(self, session: Session, row: int, image: str | None) -> markup.Tile:
        path = self.finder.paths[row]
        label = session.labels.get(row)
        if label is not None:
            return markup.Tile(row, image, path, label, colour=session.classes.index(label), labelled=True)
        found = session.predictions
        if found is None:
            return markup.Tile(row, image, path)
        name, confidence = found.classes[found.chosen[row]], float(found.confidence[row])
        return markup.Tile(
            row,
            image,
            path,
            name,
            f"{confidence:.0%}",
            meter=confidence,
            colour=session.classes.index(name),
        )

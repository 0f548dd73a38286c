"""What goes out of a label set and into it: files to download, a saved classifier, and the import of a CSV."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from cpchub_serving.page.context import Context
from cpchub_serving.page.messages import shown_errors
from cpchub_serving.visit import label_export
from cpchub_serving.visit.label_import import import_labels
from cpchub_serving.visit.session import Session

CSV, ZIP = "text/csv", "application/zip"
# The file as base64, since a zip is no text.
SAVE = """
(name, kind, content) => {
    if (!content) return;
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes], {type: kind}));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
"""


class FilePane:
    """The part of the Label tab about files; built where it is created."""

    def __init__(self, context: Context, state: gr.State) -> None:
        self.context = context
        self.sets = context.label_sets
        self.state = state
        with gr.Accordion("Files", open=True, elem_classes="cpc-files"), gr.Row(elem_classes="cpc-exports"):
            self.labels = gr.Button("Labels CSV", size="sm", min_width=80, elem_id="save-labels")
            self.predictions = gr.Button("Predictions CSV", size="sm", min_width=110, elem_id="save-predictions")
            self.head = gr.Button("Classifier zip", size="sm", min_width=90, elem_id="save-head")
            self.keep = gr.Button("Keep classifier", size="sm", min_width=100, elem_id="keep-head")
            self.upload = gr.UploadButton(
                "Import CSV", size="sm", min_width=80, file_types=[".csv", ".tsv"], elem_id="import-labels"
            )
        self.sent = [gr.Textbox(visible="hidden") for _ in range(3)]  # name, kind, content of a file

    def listen(self, imported: Callable[..., Any], drawn: list[Any], quick: dict[str, Any]) -> None:
        """Answer the buttons; `imported` takes the session and the uploaded file, and answers with `drawn`."""
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        writers = ((self.labels, self.labels_file), (self.predictions, self.predictions_file), (self.head, self.zip))
        for button, write in writers:
            button.click(write, [self.state], self.sent, **hidden).success(
                None, self.sent, None, js=SAVE, api_visibility="private"
            )
        self.keep.click(self.keep_head, [self.state], None, **hidden)
        self.upload.upload(imported, [self.state, self.upload], drawn, **quick)

    @shown_errors
    def labels_file(self, session: Session) -> tuple[str, str, str]:
        """The labels."""
        now = self.sets.open(session.set_name).refresh()
        return self._file(session, "", CSV, label_export.labels_csv(now, self.context.finder.paths).encode())

    @shown_errors
    def predictions_file(self, session: Session) -> tuple[str, str, str]:
        """A class for every image."""
        now = self.sets.open(session.set_name).refresh()
        judged = self.sets.learned(session.set_name).judge(self.context.finder.features, now)
        text = label_export.predictions_csv(
            now, None if judged is None else judged.predictions, self.context.finder.paths, session.least
        )
        return self._file(session, "-predictions", CSV, text.encode())

    @shown_errors
    def zip(self, session: Session) -> tuple[str, str, str]:
        """The classifier."""
        return self._file(session, "-classifier", ZIP, label_export.zip_head(self._head(session), session.set_name))

    @shown_errors
    def keep_head(self, session: Session) -> None:
        """Save the classifier in the collection."""
        collection = self.sets.collection
        where = label_export.save_head(self._head(session), collection, session.set_name)
        gr.Info(f"Saved as {where} in the collection. cpchub classify COLLECTION --head COLLECTION/{where} applies it.")

    def take(self, session: Session, file: Path) -> str:
        """Import labels; what became of them, in words. Raises LabelError."""
        return import_labels(session, self.sets.open(session.set_name), file).sentence

    def _head(self, session: Session) -> Any:
        now = self.sets.open(session.set_name).refresh()
        judged = self.sets.learned(session.set_name).judge(self.context.finder.features, now)
        return label_export.head_of(now, judged, self.sets.collection)

    def _file(self, session: Session, what: str, kind: str, content: bytes) -> tuple[str, str, str]:
        end = {CSV: "csv", ZIP: "zip"}[kind]
        return f"{session.set_name}{what}.{end}", kind, base64.b64encode(content).decode()

"""The progress of a run on the console: a bar on a terminal, lines in a log file."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from cpchub.common.progress import Report, console, rate_in_words
from cpchub_training.recipes import Recipe

WINDOW = 300.0  # seconds: epochs with their measurements and checkpoints take turns with epochs without


class ProgressLine:
    """A context manager around a run: `advance(done, epoch, metrics)`, `say(sentence)`; silent if not `visible`."""

    def __init__(self, recipe: Recipe, total: int, done: int, visible: bool) -> None:
        self.recipe, self.total = recipe, total
        self.finished = done >= total  # by an earlier call
        shown = console if visible else Console(quiet=True)
        self.report = Report(
            recipe.name, total, done=done, unit="step", rate=False, window=WINDOW, last_line=True, console=shown
        )

    def __enter__(self) -> ProgressLine:
        if self.finished:
            self.say(f"finished before, at step {self.total:,}")
        else:
            self.report.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if not self.finished:
            self.report.__exit__(*exc)

    def advance(self, done: int, epoch: int, line: dict[str, Any]) -> None:
        note = f"epoch {epoch + 1}/{self.recipe.epochs}, loss {line['loss']:.3f}"
        if line["images_per_second"] > 0:
            note += f", {rate_in_words(line['images_per_second'], self.recipe.unit)}"
        if line.get("kept"):
            note += f", {line['kept']:.0%} of them from smaller copies"
        if "knn_train" in line:
            note += f", kNN {line['knn_train']:.1%}"
        self.report.note = note
        self.report.update(done)

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self.report.say(f"{self.recipe.name}: {sentence}")

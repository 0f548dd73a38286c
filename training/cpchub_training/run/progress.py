"""The progress of a run on the console: a bar in a terminal, a line every 30 seconds in a log file."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cpchub.common.progress import console
from cpchub_training.recipes import Recipe


class ProgressLine:
    """A context manager around a run: `advance(done, epoch, metrics)`, `say(sentence)`; silent if not `visible`."""

    def __init__(self, recipe: Recipe, total: int, done: int, visible: bool) -> None:
        self.recipe, self.total, self.visible = recipe, total, visible
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not (visible and console.is_terminal),
        )
        self.task = self.bar.add_task(recipe.name, total=total, completed=done, note="")
        self.told = time.monotonic()

    def __enter__(self) -> ProgressLine:
        self.bar.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.bar.__exit__(*exc)

    def advance(self, done: int, epoch: int, line: dict[str, Any]) -> None:
        note = f"loss {line['loss']:.3f}  {line['images_per_second']:.0f} images/s"
        if "knn_train" in line:
            note += f"  kNN {line['knn_train']:.1%}"
        self.bar.update(self.task, completed=done, note=note)
        if self.visible and not console.is_terminal and (time.monotonic() - self.told > 30 or done == self.total):
            self.told = time.monotonic()
            where = f"step {done}/{self.total}, epoch {epoch + 1}/{self.recipe.epochs}"
            console.print(f"{self.recipe.name}: {where}, {note}", soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        if self.visible:
            console.print(f"{self.recipe.name}: {sentence}", soft_wrap=True)

"""Advice about a run in plain English, for users who do not read loss curves every day. Each sentence is printed
once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpchub_training.methods import Method
from cpchub_training.methods.moco import MoCo
from cpchub_training.recipes import Recipe

FEWEST = 20  # steps before which a loss says nothing
FLAGS = "a lower --lr, a longer --warmup-epochs, or another --temperature"  # `distil` has others


class Advice:
    """Reads the metrics of one run line by line; `about` returns the new sentences about a line."""

    def __init__(self, recipe: Recipe, n_images: int, steps_per_epoch: int, method: Method) -> None:
        self.recipe, self.n_images = recipe, n_images
        self.total = recipe.epochs * steps_per_epoch
        self.warm = recipe.warmup_epochs * steps_per_epoch  # steps of a rate that still rises tell little
        self.chance = method.chance
        self.queue = method.K if isinstance(method, MoCo) else None
        self.said: set[str] = set()

    def about(self, line: dict[str, Any]) -> list[str]:
        """The new sentences about a line. Adds `log_k` to it, the loss of an encoder that cannot tell images apart."""
        chance = self.chance(self.recipe.batch_size // self.recipe.accumulate)
        if chance is not None:
            line["log_k"] = chance
        new = []
        for key, sentence in self._all(line):
            if key not in self.said:
                self.said.add(key)
                new.append(sentence)
        return new

    def _all(self, line: dict[str, Any]) -> Iterator[tuple[str, str]]:
        step, loss = int(line["step"]), float(line["loss"])
        if self.queue is not None:
            if self.queue > self.n_images:
                yield (
                    "queue",
                    f"the queue of {self.queue:,} keys is longer than the {self.n_images:,} images, so it holds "
                    "older keys of the query's own image as negatives; a shorter --moco.queue-size is better",
                )
            filled = -(-self.queue // (self.recipe.batch_size * (2 if self.recipe.moco.symmetric else 1)))
            if step < filled:
                yield (
                    "filling",
                    "the loss rises while real keys replace the queue's random ones: expected until step "
                    f"{min(filled, self.total):,}",
                )
        late = step > self.warm and step >= max(FEWEST, 0.2 * self.total)
        if late and "log_k" in line and loss > 0.99 * line["log_k"]:
            yield (
                "chance",
                f"the loss is {loss:.3f} and one that tells nothing apart has {line['log_k']:.3f}: the encoder is not "
                f"learning. Try {'a lower rate' if self.recipe.teacher else FLAGS}",
            )
        if "effective_rank" in line and line["effective_rank"] < 2:
            yield (
                "collapse",
                f"the features have collapsed to {line['effective_rank']:.1f} dimension(s): all images look alike to "
                "the encoder. Lower --lr, and check that the views differ",
            )
        if late and line.get("negative_similarity", 0.0) > 0.99:
            yield (
                "alike",
                f"two different images have a similarity of {line['negative_similarity']:.3f} on average: nearly "
                "all features point one way. Lower --lr or --temperature",
            )

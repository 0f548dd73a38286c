"""The command that trains several recipes unattended: `suite`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from cpchub.cli.base import Command, Out, say
from cpchub.common.extras import need
from cpchub.errors import ArgumentError


@dataclass(frozen=True)
class Suite(Command):
    """Train recipes one after the other, export and measure each, and write one table; goes on after any stop."""

    recipes: Annotated[Positional[tuple[str, ...]], arg(metavar="RECIPE...")] = ()
    """recipes, or files of recipes such as the recipe.json of a run; without one, three for CIFAR-10: of an hour for a
    CPU, larger ones for a GPU"""
    out: Annotated[Path, Out] = Path("runs", "suite")
    """folder for the run folders and the table"""
    cards: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """folder for the encoders, each a model folder with its card; model_cards in --out"""
    minutes: float | None = None
    """end this call after so many minutes; the same command goes on"""
    turn: Annotated[float | None, arg(metavar="MINUTES")] = None
    """let the recipes take turns of so many minutes of training; without it, each is trained to its end"""
    images: Annotated[str | None, arg(metavar="IMAGES")] = None
    """images in place of those of the recipes: cifar10, digits, or images of your own"""
    limit: int | None = None
    """train on so many of the images"""
    epochs: int | None = None
    """in place of those of the recipes"""

    resumes: ClassVar[bool] = True

    def run(self) -> None:
        need("lightning_fabric", extra="train")
        for name in ("minutes", "turn", "limit", "epochs"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ArgumentError(f"--{name} is {value:g}; give a number above 0")
        from cpchub_training.jobs import suite
        from cpchub_training.jobs.suite_table import MARKDOWN
        from cpchub_training.recipes.places import check_places

        chosen = suite.chosen(self.recipes, images=self.images, limit=self.limit, epochs=self.epochs)
        for recipe in chosen:
            check_places(recipe)
        finished = suite.run(chosen, self.out, suite.Limits(self.minutes, self.turn), cards=self.cards)
        print((self.out / MARKDOWN).read_text(encoding="utf-8"), end="")
        if finished:
            say(f"All {len(chosen)} are finished. The table: {self.out / MARKDOWN}")
        else:
            say("The time is over; the same command goes on from here")

"""Commands that make an encoder: `quickstart`, `train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro
from tyro.conf import Positional, arg

from cpchub.cli.base import ALL, OPTIONS, Command, Port, Switch, Which, say
from cpchub.cli.collections import Demo
from cpchub.common.extras import need
from cpchub.common.files import expanded

if TYPE_CHECKING:
    from cpchub_training.jobs.distill import Distillation
    from cpchub_training.recipes import Recipe


@dataclass(frozen=True)
class Quickstart(Command):
    """The whole way on one collection: pretrain, export, embed, search, classify from few labels, open the demo."""

    images: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """folder of images; without it, scikit-learn's handwritten digits"""
    out: Path | None = None
    """folder for everything that is made; runs/quickstart, or runs/quickstart-NAME for a folder of that name"""
    serve: bool = True
    """open the demo at the end"""
    port: Port = None
    rules: Which = ALL

    resumes: ClassVar[bool] = True

    def run(self) -> None:
        need("lightning_fabric", extra="train")
        if self.serve:
            need("gradio", extra="demo")
        from cpchub_training.jobs import quickstart

        images = expanded(self.images) if self.images else None
        name = f"quickstart-{images.resolve().name}" if images else "quickstart"
        out = self.out or Path("runs", name)
        collection = quickstart.run(images, out, rules=self.rules)
        if self.serve:
            Demo(collection, encoder=str(out / "run" / "export"), port=self.port).run()


@dataclass(frozen=True)
class Train(Command):
    """Pretrain an encoder by a recipe: `cpchub train RECIPE --help` lists its fields, `--field value` changes one."""

    list: Switch = False
    """print the names of the recipes"""

    resumes: ClassVar[bool] = True
    shared: ClassVar[bool] = True

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        if args and not args[0].startswith("-"):
            return TrainRecipe.parse(args)
        return tyro.cli(cls, prog="cpchub train RECIPE", args=args or ["--help"], registry=OPTIONS)

    def run(self) -> None:
        from cpchub_training import recipes

        print("\n".join(recipes.names()))


@dataclass(frozen=True)
class TrainRecipe(Command):
    """`cpchub train RECIPE ...`: every field of the recipe is a flag, with the recipe's own value as its default."""

    recipe: Recipe
    out: Path

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        need("lightning_fabric", extra="train")
        from cpchub_training import recipes

        recipe = recipes.get(args[0])
        run_folder = arg(aliases=["-o"], help="run folder; a run that was stopped goes on from its checkpoint")
        flags = make_dataclass(
            "flags",
            [
                ("recipe", Annotated[recipes.Recipe, arg(name="")], recipe),
                ("out", Annotated[Path, run_folder], Path("runs", recipe.name)),
            ],
        )
        given: Any = tyro.cli(flags, prog=f"cpchub train {args[0]}", description="", args=args[1:], registry=OPTIONS)
        return cls(given.recipe, given.out)

    def run(self) -> None:
        from cpchub_training.jobs import pretrain

        exported = pretrain.run(self.recipe, self.out)
        if exported:
            say(f"Trained {self.recipe.name}. Publish or load it from {exported}")


@dataclass(frozen=True)
class Distil(Command):
    """Fine-tune a SimCLR run on few labels and distil it into a student on all images (SimCLR v2)."""

    run_folder: Path
    out: Path
    settings: Distillation

    resumes: ClassVar[bool] = True
    shared: ClassVar[bool] = True

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        need("lightning_fabric", extra="train")
        from cpchub_training.jobs.distill import Distillation

        flags = make_dataclass(
            "flags",
            [
                ("run_folder", Annotated[Positional[Path], arg(metavar="RUN", help="run folder of the pretraining")]),
                ("settings", Annotated[Distillation, arg(name="")]),
                ("out", Annotated[Path, arg(aliases=["-o"], help="folder for both steps")], Path("runs", "distilled")),
            ],
        )
        given: Any = tyro.cli(flags, prog="cpchub distil", description=cls.__doc__, args=args, registry=OPTIONS)
        return cls(given.run_folder, given.out, given.settings)

    def run(self) -> None:
        from cpchub_training.jobs import distill
        from cpchub_training.jobs.classifier import CLASSIFIER

        results = distill.run(self.run_folder, self.out, self.settings)
        if results is None:
            return
        for name, accuracy in results["accuracy"].items():
            print(f"{name}\t{accuracy:.1%}")
        say(f"The student's encoder: {self.out / 'export'}, its classifier: {self.out / CLASSIFIER}")

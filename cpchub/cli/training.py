"""Commands that make an encoder: `quickstart`, `train`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import Positional, arg
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from cpchub.cli import usage
from cpchub.cli.base import ALL, OPTIONS, Command, Port, Quiet, Switch, Which, say
from cpchub.cli.serving import Demo
from cpchub.common.extras import need
from cpchub.common.files import expanded
from cpchub.common.quick_import import without_collecting
from cpchub.errors import RunError

if TYPE_CHECKING:
    from cpchub_training.recipes import Recipe
    from cpchub_training.recipes.distillation import Distillation


@dataclass(frozen=True)
class Quickstart(Command):
    """The whole way on one collection: pretrain, export, embed, search, classify from few labels, open the demo."""

    images: Annotated[Path | None, arg(metavar="IMAGES")] = None
    """folder of images; without it, scikit-learn's handwritten digits"""
    out: Path | None = None
    """folder for everything that is made; runs/quickstart, or runs/quickstart-NAME for a folder of that name"""
    serve: bool = True
    """open the demo at the end"""
    port: Port = None
    rules: Which = ALL

    resumes: ClassVar[bool] = True

    def run(self) -> None:
        from cpchub.index.engine.faiss_import import import_faiss
        from cpchub_serving.process.port import check_port

        need("lightning_fabric", extra="train")
        import_faiss()  # raises where it is missing
        if self.serve:
            need("gradio", extra="demo")
            check_port(Demo.host, self.port)
        images = expanded(self.images) if self.images else None
        if images is not None:
            from cpchub_training.recipes.places import check_own_images

            check_own_images(str(images))
        from cpchub_training.jobs import quickstart

        name = f"quickstart-{images.resolve().name}" if images else "quickstart"
        out = self.out or Path("runs", name)
        collection = quickstart.run(images, out, rules=self.rules)
        if self.serve:
            Demo(collections=(str(collection),), encoder=str(out / "run"), port=self.port).run()


@dataclass(frozen=True)
class Train(Command):
    """Pretrain an encoder by a recipe: `cpchub train RECIPE --help` lists its fields, `--field value` changes one."""

    list: Switch = False
    """print the names of the recipes; on a terminal with what they are of"""

    resumes: ClassVar[bool] = True
    shared: ClassVar[bool] = True

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        if args and not args[0].startswith("-"):
            return TrainRecipe.parse(args)
        return cls.read(cls, "cpchub train RECIPE", args or ["--help"], registry=OPTIONS)

    def run(self) -> None:
        from cpchub.cli import tables
        from cpchub_training import recipes

        tables.recipes([recipes.get(name) for name in recipes.names()], word_for_data)


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
        method = method_in(args, recipe.method)
        words = usage.todays_words(args[1:], {"--data": f"--{word_for_data(method)}"}, say)
        run_folder = arg(aliases=["-o"], help="run folder; a run that was stopped goes on from its checkpoint")
        flags = make_dataclass(
            "flags",
            [
                ("recipe", Annotated[recipes.Recipe, arg(name="")], recipe),
                ("out", Annotated[Path, run_folder], Path("runs", recipe.name)),
                ("quiet", Quiet, False),
            ],
        )
        with OPTIONS:
            given = cls.read(flags, f"cpchub train {args[0]}", words, description="", registry=options_of(method))
        return cls(given.recipe, given.out, quiet=given.quiet)

    def run(self) -> None:
        from cpchub_training.recipes.places import check_places

        check_places(self.recipe)
        with without_collecting():
            from cpchub_training.jobs import pretrain

        exported = pretrain.run(self.recipe, self.out)
        if exported is None:
            return
        of_sound = self.recipe.takes == "sound"
        out = shlex.quote(str(self.out))
        use = f'cpchub.load("{self.out}")' if of_sound else f"cpchub index IMAGES -o OUT --encoder {out}"
        if exported.trained:
            say(f"Trained {self.recipe.name}. Use it: {use}")
        else:
            say(f"{self.out} was finished before, and stays as it is. {how_to_go_on(self.recipe)}. Use it: {use}")


def how_to_go_on(recipe: Recipe) -> str:
    """How to train more than a run that is finished; only a rate without an end can go on in the same folder."""
    if recipe.schedule == "constant":
        return f"To train it further, give more than --epochs {recipe.epochs}"
    return "To train anew, for more --epochs too, name another folder with --out"


def method_in(args: Sequence[str], default: str) -> str:
    """The method that the flags name, which decides what other flags there are."""
    words = [word for flag in args for word in flag.split("=", 1)]
    named = [after for word, after in pairwise(words) if word == "--method"]
    return named[-1] if named else default


def word_for_data(method: str) -> str:
    """What a recipe's data is called as a flag."""
    return "recordings" if method == "cpc_audio" else "images"


def options_of(method: str) -> ConstructorRegistry:
    """tyro's rules for a recipe, of whose settings only those that the method reads are flags."""
    from cpchub_training.recipes import Recipe
    from cpchub_training.recipes.own_settings import GROUPS, not_of

    hidden, options = not_of(method), ConstructorRegistry()
    images = word_for_data(method)
    asked: set[object] = set()
    prefixes: dict[object, str] = {Recipe: "", **{kind: f"{name}." for name, kind in GROUPS.items()}}

    @options.struct_rule
    def without_hidden(info: StructTypeInfo) -> StructConstructorSpec | None:
        if info.type not in prefixes or info.type in asked:
            return None
        asked.add(info.type)  # so that the next line asks tyro's own rules
        try:
            whole = ConstructorRegistry.get_struct_spec(info)
        finally:
            asked.remove(info.type)
        if not isinstance(whole, StructConstructorSpec):
            return None
        shown = [field for field in whole.fields if not is_hidden(prefixes[info.type] + field.name)]
        if info.type is not Recipe:
            return StructConstructorSpec(lambda **values: replace(info.default, **values), tuple(shown))
        said = None if images == "images" else "fsdd, or a folder of WAV, FLAC or Ogg files"
        text: Any = Annotated[str, arg(metavar=images.upper(), help=said)]
        shown = [replace(field, name=images, type=text) if field.name == "data" else field for field in shown]
        return StructConstructorSpec(
            lambda **values: replace(info.default, data=values.pop(images), **values), tuple(shown)
        )

    def is_hidden(name: str) -> bool:
        kind = GROUPS.get(name)
        return name in hidden or (kind is not None and all(f"{name}.{each.name}" in hidden for each in fields(kind)))

    return options


@dataclass(frozen=True)
class Distil(Command):
    """Fine-tune a SimCLR run on few labels and distil it into a student on all images (SimCLR v2)."""

    run_folder: Path
    out: Path
    settings: Distillation

    renamed: ClassVar[Mapping[str, str]] = {"--labels": "--label-fraction"}
    resumes: ClassVar[bool] = True
    shared: ClassVar[bool] = True

    @classmethod
    def parse(cls, args: Sequence[str]) -> Command:
        need("lightning_fabric", extra="train")
        from cpchub_training.recipes.distillation import Distillation

        flags = make_dataclass(
            "flags",
            [
                ("run_folder", Annotated[Positional[Path], arg(metavar="RUN", help="run folder of the pretraining")]),
                ("settings", Annotated[Distillation, arg(name="")]),
                ("out", Annotated[Path, arg(aliases=["-o"], help="folder for both steps")], Path("runs", "distilled")),
                ("quiet", Quiet, False),
            ],
        )
        given = cls.read(flags, "cpchub distil", args, description=cls.__doc__, registry=OPTIONS)
        return cls(given.run_folder, given.out, given.settings, quiet=given.quiet)

    def run(self) -> None:
        if not self.run_folder.is_dir():
            raise RunError(f"there is no run folder {self.run_folder}; name that of the pretraining")
        from cpchub_training.jobs import distill
        from cpchub_training.jobs.classifier import CLASSIFIER

        results = distill.run(self.run_folder, self.out, self.settings)
        if results is None:
            return
        for name, accuracy in results["accuracy"].items():
            print(f"{name}\t{accuracy:.1%}")
        say(f"The student's encoder: {self.out}, its classifier: {self.out / CLASSIFIER}")

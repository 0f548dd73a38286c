"""Commands that measure encoders: `eval`, `compare`, `report`, and `detect`, a benchmark of detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from cpchub.cli.base import ALL, Command, Out, Which, check_out, say
from cpchub.common.extras import need
from cpchub.errors import ArgumentError, SourceError

Labelled = Annotated[str, arg(metavar="IMAGES", help="cifar10, digits, or a folder with a sub-folder a class")]
RENAMED = {"--data": "--images"}
PROTOCOLS = ("knn", "linear", "cpc-linear", "low-label", "resnet-head", "fine-tune", "scratch")
MODES = ("frozen", "fine-tuned", "scratch")
MEASURED = "knn,linear,low-label"
Protocols = Annotated[str, arg(metavar="LIST", help=f"of {', '.join(PROTOCOLS)}; with commas")]
Fractions = Annotated[str, arg(metavar="LIST", help="per cent of the labels, for the protocols with few labels")]
Seeds = Annotated[str, arg(metavar="LIST", help="draws of the labels")]
Cache = Annotated[Path | None, arg(metavar="FOLDER", help="where features and outcomes are kept")]


@dataclass(frozen=True)
class Eval(Command):
    """Measure an encoder on labelled images: kNN, linear, few labels, and training from scratch beside it."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """run folder, model folder, catalog name, Hub id or timm/NAME"""
    images: Labelled
    protocol: Protocols = MEASURED
    fractions: Fractions = "1,2,5,10,20,50,100"
    per_class: Annotated[str, arg(metavar="LIST")] = ""
    """numbers of labels a class, for the same protocols, for example 1,2,5"""
    seeds: Seeds = "0,1,2"
    scratch_images: int | None = None
    """images that training from scratch sees at 1 % of the labels, with repetition; more labels see more"""
    out: Annotated[Path | None, Out] = None
    """folder for eval.json and the label curve; runs/evaluations/NAME"""
    cache: Cache = None
    rules: Which = ALL

    resumes: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = {**RENAMED, "--scratch-pictures": "--scratch-images"}

    def run(self) -> None:
        need("lightning_fabric", extra="train")
        check_places([self.name], [self.images])
        protocols = _known(self.protocol, PROTOCOLS, "--protocol")
        fractions, seeds = _shares(self.fractions), _seeds(self.seeds)
        per_class = _whole(self.per_class, "--per-class")
        if per_class and min(per_class) < 1:
            raise ArgumentError(f"--per-class is {self.per_class!r}; give numbers of labels, each 1 or more")
        if self.scratch_images is not None and self.scratch_images < 1:
            raise ArgumentError(f"--scratch-images is {self.scratch_images}; give 1 or more")
        from cpchub_training.evaluate import Settings
        from cpchub_training.evaluate.job import measure

        settings = Settings(fractions=fractions, per_class=per_class, seeds=seeds)
        settings = settings.with_scratch_images(self.scratch_images)
        measure(self.name, self.images, protocols, settings, out=self.out, cache=self.cache, rules=self.rules)


@dataclass(frozen=True)
class Compare(Command):
    """Measure several encoders on one or more data sets by the same protocols, as one table."""

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME...")]
    """encoders, named as for eval"""
    images: Labelled
    """one or more, with commas"""
    protocol: Protocols = MEASURED
    fractions: Fractions = "1,10"
    seeds: Seeds = "0,1,2"
    out: Annotated[Path | None, Out] = None
    """CSV to write: encoder, data, config, labels, accuracy, std, protocol"""
    cache: Cache = None
    rules: Which = ALL

    resumes: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = RENAMED

    def run(self) -> None:
        need("lightning_fabric", extra="train")
        if not self.names:
            raise ArgumentError("no encoder to compare; name one or more")
        check_out(self.out)
        if not _words(self.images):
            raise ArgumentError("no data set to compare on; name one or more with --images")
        check_places(self.names, _words(self.images))
        protocols = _known(self.protocol, PROTOCOLS, "--protocol")
        fractions, seeds = _shares(self.fractions), _seeds(self.seeds)
        from cpchub_training.evaluate import Settings
        from cpchub_training.evaluate.compare import compare

        compare(
            self.names,
            _words(self.images),
            protocols,
            Settings(fractions=fractions, seeds=seeds),
            out=self.out,
            cache=self.cache,
            rules=self.rules,
        )


@dataclass(frozen=True)
class ReportCommand(Command):
    """Draw what is known about one or more encoders as one HTML page that needs nothing else, and as PNG files."""

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME...")]
    """run folders or encoders, named as for eval, that `cpchub eval` has measured"""
    images: Labelled
    out: Annotated[Path | None, Out] = None
    """folder to write; by default the evaluation folder of the first encoder, runs/evaluations/NAME/report"""
    cache: Cache = None
    rules: Which = ALL

    resumes: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = RENAMED

    def run(self) -> None:
        need("lightning_fabric", extra="train")
        if not self.names:
            raise ArgumentError("nothing to report on; name a run folder or an encoder")
        check_places(self.names, [self.images])
        from cpchub_training.report import report

        say(f"Report: {report(self.names, self.images, out=self.out, cache=self.cache, rules=self.rules)}")


@dataclass(frozen=True)
class Detect(Command):
    """A benchmark, which finds nothing in images of your own: train Faster R-CNN on an encoder and on the same network
    from scratch, and print their average precision on a test split."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """run folder, model folder, catalog name, Hub id or timm/NAME"""
    images: Annotated[Path, arg(metavar="IMAGES")]
    """folder in the layout of PASCAL VOC"""
    modes: Annotated[str, arg(metavar="LIST")] = "frozen,fine-tuned,scratch"
    """what is done with the encoder, with commas"""
    seeds: Annotated[str, arg(metavar="LIST")] = "0,1,2"
    """of the detector's own weights and of the order of the images"""
    style: Literal["fpn", "c4"] = "fpn"
    """a feature pyramid, or proposals at stride 16 judged by the last stage of a ResNet"""
    side: int = 800
    """pixels of an image's short side; 160 for a CPU"""
    width: int = 256
    """channels of the pyramid; 64 for a CPU"""
    steps: int = 2000
    batch_size: int = 4
    lr: float = 0.01
    train_split: str = "trainval"
    test_split: str = "test"
    out: Annotated[Path | None, Out] = None
    """folder for detection.json; runs/detection/NAME"""

    resumes: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = RENAMED

    def run(self) -> None:
        need("lightning_fabric", extra="train")
        seeds = _seeds(self.seeds)
        modes = _known(self.modes, MODES, "--modes")
        check_places([self.name])
        if not self.images.is_dir():
            raise SourceError(f"there is no folder {self.images}; give a folder in the layout of PASCAL VOC")
        from cpchub.cli import tables
        from cpchub_training.detection import Settings, measure

        names = ("style", "side", "width", "steps", "batch_size", "lr", "train_split", "test_split")
        settings = Settings(**{name: getattr(self, name) for name in names})
        rows = measure(self.name, self.images, settings, modes=modes, seeds=seeds, out=self.out)  # type: ignore[arg-type]
        tables.detection(rows)


def check_places(names: Sequence[str], data: Sequence[str] = ()) -> None:
    """Raise, before torch is imported, for a run, an encoder or a data set that is not there."""
    from cpchub.hub.places import check_name
    from cpchub_training.recipes.places import check_labelled

    for name in names:
        check_name(name)
    for each in data:
        check_labelled(each)


def _shares(text: str) -> tuple[float, ...]:
    numbers = _numbers(text, "--fractions")
    if any(not 0 < number <= 100 for number in numbers):
        raise ArgumentError(f"--fractions is {text!r}; give per cents above 0 and up to 100")
    return tuple(number / 100 for number in numbers)


def _seeds(text: str) -> tuple[int, ...]:
    from cpchub_training.recipes.seeds import check_seeds

    seeds = _whole(text, "--seeds")
    check_seeds(seeds)
    return seeds


def _words(text: str) -> list[str]:
    """What stands between the commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _known(text: str, names: Sequence[str], flag: str) -> list[str]:
    """The words of a list, each of which is one of `names`."""
    words = _words(text)
    if not words:
        raise ArgumentError(f"{flag} names nothing; give one or more of {', '.join(names)}")
    if unknown := [word for word in words if word not in names]:
        raise ArgumentError(f"{flag} {unknown[0]!r} is none of {', '.join(names)}")
    return words


def _numbers(text: str, flag: str) -> list[float]:
    try:
        return [float(word) for word in _words(text)]
    except ValueError as error:
        raise ArgumentError(f"{flag} is {text!r}; give numbers with commas between them") from error


def _whole(text: str, flag: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError as error:
        raise ArgumentError(f"{flag} is {text!r}; give whole numbers with commas between them") from error

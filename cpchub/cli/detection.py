"""The command that measures how well an encoder serves detection: `detect`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from cpchub.cli.base import Command, Out, say
from cpchub.common.extras import need
from cpchub.errors import ArgumentError


@dataclass(frozen=True)
class Detect(Command):
    """Train Faster R-CNN on an encoder and on the same network from scratch; print their AP beside each other."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """model folder, catalog name, Hub id or timm/NAME"""
    data: Annotated[Path, arg(metavar="FOLDER")]
    """folder in the layout of PASCAL VOC"""
    modes: Annotated[str, arg(metavar="LIST")] = "frozen,fine-tuned,scratch"
    """what is done with the encoder, with commas"""
    seeds: Annotated[str, arg(metavar="LIST")] = "0,1,2"
    """of the detector's own weights and of the order of the pictures"""
    style: Literal["fpn", "c4"] = "fpn"
    """a feature pyramid, or proposals at stride 16 judged by the last stage of a ResNet"""
    side: int = 800
    """pixels of a picture's short side; 160 for a CPU"""
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

    def run(self) -> None:
        need("lightning_fabric", extra="train")
        from cpchub.cli import tables
        from cpchub_training.detection import Settings, measure

        try:
            seeds = [int(word) for word in self.seeds.split(",")]
        except ValueError as error:
            raise ArgumentError(f"--seeds is {self.seeds!r}; give whole numbers with commas between them") from error
        names = ("style", "side", "width", "steps", "batch_size", "lr", "train_split", "test_split")
        settings = Settings(**{name: getattr(self, name) for name in names})
        out = self.out or Path("runs", "detection", Path(self.name).name)
        modes = [word.strip() for word in self.modes.split(",")]
        rows = measure(self.name, self.data, settings, modes=modes, seeds=seeds, out=out)  # type: ignore[arg-type]
        tables.detection(rows)
        say(f"All settings and numbers: {out / 'detection.json'}")

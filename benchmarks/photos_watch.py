"""How good the photo encoder is at its last checkpoint: kNN on the images held out of training, while it runs on.

    python -m benchmarks.photos_watch IMAGES RUN [--size 64] [--export FOLDER]

A line of JSON is added to `RUN/held_out.jsonl`: the step, the epoch, and the accuracies of `photos_choice.py` for the
averaged weights. `--export` writes these weights as a model folder, for `benchmarks/transfer.py` to measure. The run is
not disturbed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.in_one_line import in_one_line
from benchmarks.photos_choice import BANK, bank_rows, held_out_knn
from benchmarks.photos_data import TRAIN
from cpchub_training import data
from cpchub_training.data.batches import Batches
from cpchub_training.jobs.pretrain import export_run
from cpchub_training.run import checkpoint
from cpchub_training.run.average import WeightAverage
from cpchub_training.run.run_folder import CHECKPOINT
from cpchub_training.run.saved_run import saved_run


def averaged(run_dir: Path) -> tuple[Any, nn.Module, int]:
    """The recipe, the averaged network of the last checkpoint (the plain one where none is kept), and its step."""
    recipe, method = saved_run(run_dir)
    network: nn.Module = method.get_submodule("backbone")
    kept: dict[str, nn.Module] = {"method": method}
    if recipe.ema_decay:
        kept["average"] = average = WeightAverage(network, recipe.ema_decay)
        network = average.network
    return recipe, network, int(checkpoint.load(run_dir / CHECKPOINT, kept)["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--size", type=int, help="side in pixels that images are shown at; the recipe's by default")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="where the encoder as it is now is written")
    options = parser.parse_args()
    torch.set_num_threads(1)

    recipe, network, step = averaged(options.run)
    listed = data.own_images(str(options.images / TRAIN))
    epoch = step / Batches(recipe, len(listed)).steps_per_epoch
    recipe = replace(recipe, input_size=options.size or recipe.input_size)
    line: dict[str, Any] = {"step": step, "epoch": epoch, "size": recipe.input_size}
    labels = np.asarray(listed.labels)
    rows = np.concatenate([bank_rows(listed.classes, labels, prefix) for prefix in BANK])
    bank = data.in_memory(listed.subset(rows), TRAIN, recipe.stored_size)
    line |= held_out_knn(network.to(memory_format=torch.channels_last), recipe, bank, options.images)
    if options.export:
        export_run(recipe, network, options.export, len(listed))
    with (options.run / "held_out.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line))


if __name__ == "__main__":
    in_one_line(main)

"""Small embedding jobs, every second counted from the command, beside a timm user's script over the same photos.

    python -m benchmarks.embedding_start --photos FOLDER [--networks resnet18 resnet50] [--counts 300 1000] [--turns 3]

Each run is a fresh process. first: `cpchub embed` with an empty cache. second: the same again, into another collection,
with what the first one kept. timm: a script as timm's documentation shows it (ImageDataset, DataLoader with two
workers, the network in fp32 under inference_mode), from the start of its process. They take turns, so that a change in
the machine's load meets all, and ratios are of the medians. The photos are copied at 500 pixels to a temporary folder,
as many times as are needed. Networks have random weights: speed does not depend on them.

cosine: the least one between the vectors of the second job and those of the plain network, on 32 photos.
in_memory: photos as arrays of 32 x 32 pixels in this process, `encode` beside timm's loop, with the encoder that ships
with cpchub.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

import cpchub
from benchmarks.embedding_cost import BATCH, Cost, photos_of_500_pixels, some
from benchmarks.in_one_line import in_one_line
from cpchub.catalog.listing import bundled_encoder
from cpchub.encoders.fast.processor import cores, cpu_has_avx512, cpu_has_bfloat16
from cpchub.encoders.model_folder import write

TIMM = """
import sys, numpy, timm, torch
from timm.data import ImageDataset, create_transform, resolve_model_data_config
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True, num_classes=0).eval()
transform = create_transform(**resolve_model_data_config(model), is_training=False)
dataset = ImageDataset(sys.argv[2], transform=transform)
loader = torch.utils.data.DataLoader(dataset, batch_size=64, num_workers=2)
with torch.inference_mode():
    vectors = numpy.concatenate([model(x).numpy() for x, _ in loader])
numpy.save(sys.argv[3], vectors)
"""
SMALL = 32  # pixels of the images in memory


def model_folder(name: str, folder: Path) -> Path:
    """A model folder of timm's network of that name, with random weights."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0)
    cfg = resolve_model_data_config(model)
    facts = {key: cfg[key] for key in ("input_size", "mean", "std", "interpolation", "crop_pct")}
    facts |= {"name": f"random-{name}".replace("_", "-"), "method": "none", "data": "none", "license": "apache-2.0"}
    facts |= {"architecture": name, "model_args": {}, "summary": "A network of random weights, to measure speed with."}
    return write(model, folder, facts=facts, recipe={"name": "none"}, evaluation=None)


def in_turns(runs: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[Cost]]:
    """What each run costs, in turns."""
    costs: dict[str, list[Cost]] = {who: [] for who in runs}
    for _ in range(turns):
        for who, run in runs.items():
            costs[who].append(Cost.of(run))
    return costs


def table(costs: Mapping[str, list[Cost]]) -> dict[str, Any]:
    """Median seconds of the clock and of cores, and timm's by each of the others'."""
    rows: dict[str, Any] = {}
    for key in ("clock", "cores"):
        medians = {who: statistics.median(getattr(cost, key) for cost in all_of) for who, all_of in costs.items()}
        rows[f"{key}_s"] = {who: round(median, 2) for who, median in medians.items()}
        rows[f"{key}_ratio"] = {
            who: round(medians["timm"] / median, 2) for who, median in medians.items() if who != "timm"
        }
    return rows


def jobs(encoder: Path, photos: Path, scratch: Path, turns: int) -> dict[str, Any]:
    """The three commands over a folder of photos."""
    cache = scratch / "cache"
    environment = os.environ | {"CPCHUB_CACHE": str(cache), "CPCHUB_NO_ADVICE": "1"}

    def run(*words: str) -> None:
        done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: status {done.returncode}: {done.stderr}")

    def ours(*, first: bool) -> None:
        if first:
            cache.rename(Path(tempfile.mkdtemp(dir=scratch)) / "cache")
            cache.mkdir()
        run(
            "-m",
            "cpchub",
            "embed",
            str(photos),
            "-o",
            tempfile.mkdtemp(dir=scratch) + "/out",
            "--encoder",
            str(encoder),
        )

    cache.mkdir(exist_ok=True)
    peer = partial(run, "-c", TIMM, str(encoder), str(photos), str(scratch / "timm.npy"))
    runs = {"timm": peer, "first": partial(ours, first=True), "second": partial(ours, first=False)}
    ours(first=False)  # fills the disk cache, and writes the byte code, for all
    found = table(in_turns(runs, turns))
    out = Path(tempfile.mkdtemp(dir=scratch)) / "out"
    run("-m", "cpchub", "embed", str(photos), "-o", str(out), "--encoder", str(encoder))
    collection = cpchub.Collection.open(out)
    plain = cpchub.load(encoder, dtype="float32").encode(
        [photos / path for path in collection.paths[:32]], normalize=True
    )
    found["cosine"] = round(float((np.asarray(collection.vectors()[:32]) * plain).sum(1).min()), 6)
    return found


def in_memory(photos: Path, count: int, turns: int) -> dict[str, Any]:
    """`encode` of arrays beside timm's loop; each is warm when it is measured."""
    paths = sorted(photos.iterdir())
    arrays = [np.asarray(Image.open(paths[n % len(paths)]).resize((SMALL, SMALL))) for n in range(count)]
    encoder = cpchub.load(bundled_encoder())
    model = encoder.model
    transform = create_transform(**resolve_model_data_config(model), is_training=False)

    def peer() -> None:
        with torch.inference_mode():
            for start in range(0, count, BATCH):
                batch = [transform(Image.fromarray(array)) for array in arrays[start : start + BATCH]]
                model(torch.stack(batch)).numpy()

    runs = {
        "timm": peer,
        "encode": lambda: encoder.encode(arrays),
        "one_array": partial(encoder.encode, np.stack(arrays)),
    }
    for run in runs.values():
        run()
    few = encoder.encode(arrays[:BATCH], normalize=True)
    least = float((few * encoder.encode(arrays, normalize=True)[:BATCH]).sum(1).min())
    return {"images": count, "encoder": encoder.spec.name, **table(in_turns(runs, turns)), "cosine": round(least, 6)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos to make the 500-pixel ones of")
    parser.add_argument("--networks", nargs="*", default=["resnet18", "resnet50", "vit_small_patch16_224"])
    parser.add_argument("--counts", type=int, nargs="*", default=[300, 1000], help="photos of a job")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--small", type=int, default=1000, help="arrays in memory; 0: none")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "embedding_start.json")
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": {"cores": cores(), "bfloat16": cpu_has_bfloat16(), "avx512": cpu_has_avx512()},
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
        "load_average": round(os.getloadavg()[0], 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        photos = photos_of_500_pixels(options.photos, scratch / "photos", max(options.counts))
        if options.small:
            report["in_memory"] = in_memory(photos, options.small, 3 * options.turns)
            print("in memory", json.dumps(report["in_memory"], indent=2), flush=True)
        for name in options.networks:
            encoder = model_folder(name, scratch / name)
            for count in options.counts:
                found = jobs(encoder, some(photos, count, scratch / f"{name}-{count}"), scratch, options.turns)
                report.setdefault("jobs", {}).setdefault(name, {})[str(count)] = found
                print(name, count, json.dumps(found, indent=2), flush=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    in_one_line(main)

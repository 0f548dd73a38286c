"""What decoding costs: large photos at the scale that is enough, and JPEG files on a GPU."""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import cpchub
from benchmarks.embedding_cost import BATCH, Cost, ours, some
from cpchub.catalog.listing import bundled_encoder
from cpchub.encoders.fast.gpu_jpeg import jpeg_for_gpu
from cpchub.media.decode import decode_bytes, resize_side

WORKERS = (2, 8, 16)  # reading threads, for decoding on a GPU


def camera(photos: Path, scratch: Path, count: int) -> dict[str, Any]:
    """12-megapixel JPEGs, decoded and prepared for a small encoder: in full and at the scale that is enough."""
    encoder = cpchub.load(bundled_encoder())
    embedder = encoder.embedder(0)
    size = resize_side(encoder.spec.input_size, encoder.spec.crop_pct)
    rng = np.random.default_rng(0)
    files = []
    for number, path in enumerate(sorted(photos.iterdir())[:count]):
        with Image.open(path) as photo:
            large = np.asarray(photo.resize((4000, 3000), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(large + rng.integers(-12, 13, large.shape, dtype=np.int16), 0, 255).astype(np.uint8)
        files.append(scratch / f"camera{number}.jpg")
        Image.fromarray(noisy).save(files[-1], quality=90)

    def in_full(path: Path) -> Any:
        return embedder.prepare(Image.open(path).convert("RGB"))

    def reduced(path: Path) -> Any:
        return embedder.prepare(decode_bytes(path.read_bytes(), size=size).image)

    seconds: dict[str, list[float]] = {"in_full": [], "reduced": []}
    for _ in range(3):
        for name, read in (("in_full", in_full), ("reduced", reduced)):
            started = time.thread_time()
            for path in files:
                read(path)
            seconds[name].append(time.thread_time() - started)
    rates = {name: count / statistics.median(values) for name, values in seconds.items()}
    full, small = (embedder.encode([read(path) for path in files]) for read in (in_full, reduced))
    embedder.close()
    return {
        "encoder": encoder.spec.name,
        "megabytes_a_photo": round(sum(path.stat().st_size for path in files) / count / 1e6, 1),
        "photos_per_second_of_one_core": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": round(rates["reduced"] / rates["in_full"], 2),
        "least_cosine": round(float((full * small).sum(1).min()), 5),
    }


def gpu_decoding(name: str, photos: Path, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One network on a GPU: steady state by reading threads and decoder, and what a file costs a core with each."""
    torch.manual_seed(0)
    encoder = cpchub.load(f"timm/{name}", pretrained=False)
    short, long = options.steady
    folders = [some(photos, count, scratch / f"decoding-{name}-{count}") for count in (short, long)]
    report: dict[str, Any] = {"photos_per_second": {}}
    vectors = {}
    for workers in WORKERS:
        rates = report["photos_per_second"][f"{workers} threads"] = {}
        for decode in ("cpu", "auto"):
            vectors[decode] = ours(encoder, folders[0], scratch, workers=workers, decode=decode).vectors()
            runs = [
                [Cost.of(partial(ours, encoder, folder, scratch, workers=workers, decode=decode)) for folder in folders]
                for _ in range(max(options.turns, 1))
            ]
            rates[decode] = round((long - short) / statistics.median((more - less).clock for less, more in runs), 1)
    report["least_cosine_between_them"] = round(float((vectors["cpu"] * vectors["auto"]).sum(1).min()), 6)
    embedder, size = encoder.embedder(0), resize_side(encoder.spec.input_size, encoder.spec.crop_pct)
    files = [path.read_bytes() for path in sorted(folders[0].iterdir())[:BATCH]]
    jpegs = [found for data in files if (found := jpeg_for_gpu(data, size)) is not None]
    report["share_left_to_the_gpu"] = round(len(jpegs) / len(files), 3)
    by_core = {
        "cpu": Cost.of(lambda: [embedder.prepare(decode_bytes(data, size=size).image) for data in files]),
        "auto": Cost.of(lambda: [jpeg_for_gpu(data, size) for data in files]),
    }
    report["files_per_second_of_a_core"] = {who: round(len(files) / cost.cores, 1) for who, cost in by_core.items()}
    if jpegs:
        embedder.encode(jpegs)
    report["gpu_decodes"] = embedder.gpu_decodes
    embedder.close()
    return report

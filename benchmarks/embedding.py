"""Photos/s of embedding a folder, beside a timm user's loop over the same photos, in one run and as ratios.

    python -m benchmarks.embedding --photos FOLDER [--networks resnet50 resnet18] [--whole 1000] [--parts ...]

The photos of the folder are copied at 500 pixels to a temporary folder, as many times as are needed. The peer is
what timm's documentation shows: ImageDataset, DataLoader with two workers, the network in fp32 under inference_mode.
Networks have random weights: speed does not depend on them. The two take turns, so that a change in the machine's load
meets both, and ratios are of the medians.

whole: every second from the call to the last vector, on disk for ours. steady: two runs of different length, and their
difference in photos by their difference in time; both are long enough for the path that long jobs take. ready_tensors:
the network alone, on tensors that are in memory, on the path of the steady state; ready_tensors_folded and the like:
on the paths of shorter and longer jobs, where they are others.
Rates are photos by seconds of the clock and, as `of_a_core`, by seconds that the cores worked, child processes
included: the second is what a machine that others use too can be asked for. camera: 12-megapixel photos decoded for a
small encoder. memory: peak of a process by number of photos. gpu_decoding, where there is a CUDA device: JPEG files
decoded there and by the CPU, by the number of threads that read.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import ImageDataset, create_transform, resolve_model_data_config
from torch.utils.data import DataLoader

import cpchub
from benchmarks.embedding_cost import BATCH, Cost, ours, photos_of_500_pixels, some
from benchmarks.embedding_decoding import camera, gpu_decoding
from benchmarks.in_one_line import in_one_line
from cpchub.media.decode import decode_bytes, resize_side

PARTS = ("network", "camera", "memory", "gpu_decoding")
SIZES = (1000, 10_000, 50_000)  # photos, for the memory; the last two take the path of long jobs


def timms_loop(model: torch.nn.Module, folder: Path) -> None:
    """All photos of a folder to vectors, by timm's own tools."""
    device = next(model.parameters()).device
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    loader = DataLoader(ImageDataset(str(folder), transform=transform), batch_size=BATCH, num_workers=2)
    with torch.inference_mode():
        vectors = [model(x.to(device)).cpu().numpy() for x, _ in loader]
    np.concatenate(vectors)


def network_alone(encoder: Any, batches: int, images: int) -> Cost:
    """The network in the mode that `embed` uses for so many images, on prepared ones that are in memory."""
    embedder = encoder.embedder(images)
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (375, 500, 3), dtype=np.uint8))
    ready = [embedder.prepare(image)] * BATCH
    embedder.encode(ready[:16])
    with ThreadPoolExecutor(embedder.lanes) as pool:
        cost = Cost.of(lambda: list(pool.map(lambda _: embedder.encode(ready), range(batches))))
    embedder.close()
    return cost


def plain_network_alone(model: torch.nn.Module, batches: int) -> Cost:
    """The network as timm makes it, on tensors that are in memory."""
    x = torch.randn(BATCH, 3, 224, 224, device=next(model.parameters()).device)
    with torch.inference_mode():
        model(x[:16]).cpu()
        return Cost.of(lambda: [model(x).cpu() for _ in range(batches)])


def speed(name: str, photos: Path, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One network: whole runs, steady state, share of the network's own rate, and agreement with fp32."""
    torch.manual_seed(0)
    encoder = cpchub.load(f"timm/{name}", pretrained=False)
    model = timm.create_model(name, num_classes=0).eval().to(encoder.device)
    model.load_state_dict(encoder.model.state_dict(), strict=False)
    short, long = options.steady
    folders = {
        count: some(photos, count, scratch / f"{name}-{count}") for count in {short, long, options.whole} if count
    }
    runs: dict[str, Callable[[int], object]] = {
        "timm": lambda count: timms_loop(model, folders[count]),
        "cpchub": lambda count: ours(encoder, folders[count], scratch),
    }
    path = _path(encoder, long)
    if options.turns and _path(encoder, short) != path:
        raise SystemExit(f"--steady {short} {long}: the longer run takes the path {path}, the shorter does not")
    report: dict[str, Any] = {"path": path, "cosine_to_fp32": round(agreement(encoder, photos, long), 7)}
    report["load_average"] = round(os.getloadavg()[0], 1)  # of the machine before it is measured
    if options.turns:
        report |= in_turns(runs, model, encoder, options)
    if options.whole:
        whole = {who: [Cost.of(partial(run, options.whole))] for who, run in runs.items()}
        report["whole"] = {"photos": options.whole, "path": _path(encoder, options.whole)}
        report["whole"] |= _rates(whole, options.whole)
    return report


def in_turns(
    runs: dict[str, Callable[[int], object]], model: torch.nn.Module, encoder: Any, options: argparse.Namespace
) -> dict[str, Any]:
    """The steady state and the networks alone, each of the two in turn."""
    short, long = options.steady
    steady: dict[str, list[Cost]] = {who: [] for who in runs}
    alone: dict[str, list[Cost]] = {who: [] for who in runs}
    for _ in range(options.turns):
        for who in runs:
            less, more = (Cost.of(partial(runs[who], count)) for count in (short, long))
            steady[who].append(more - less)
        alone["timm"].append(plain_network_alone(model, options.alone))
        alone["cpchub"].append(network_alone(encoder, options.alone, long))
    report = {"steady": _rates(steady, long - short), "ready_tensors": _rates(alone, options.alone * BATCH)}
    for key in ("rate", "of_a_core"):
        share = report["steady"][key]["cpchub"] / report["ready_tensors"][key]["cpchub"]
        report.setdefault("share_of_own_network", {})[key] = round(share, 3)
    paths = {_path(encoder, count): count for count in (MANY, 0, long)}
    for path, count in paths.items():
        if count != long:
            costs = {"timm": alone["timm"], "cpchub": [network_alone(encoder, options.alone, count)]}
            report[f"ready_tensors_{path.lower()}"] = _rates(costs, options.alone * BATCH)
    return report


def agreement(encoder: Any, photos: Path, images: int) -> float:
    """The least cosine between vectors of the path that so many images take and of the plain one, on 32 photos."""
    paths = sorted(photos.iterdir())[:32]
    embedder = encoder.embedder(images)
    size = resize_side(encoder.spec.input_size, encoder.spec.crop_pct)
    found = embedder.encode([embedder.prepare(decode_bytes(path.read_bytes(), size=size).image) for path in paths])
    embedder.close()
    return float((found * encoder.encode(paths, normalize=True)).sum(1).min())


MANY = 2000  # photos, for which every engine pays
MEMORY = """
import pathlib, re, sys
import cpchub
from cpchub.embedding.job import embed
encoder = cpchub.load("timm/test_resnet", pretrained=False, pretrained_cfg_overlay={"input_size": (3, 64, 64)})
embed(sys.argv[1], sys.argv[2], encoder, progress=False)
# not getrusage: its peak is that of the process which started this one, if that was larger
print(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""


def memory(photos: Path, scratch: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Peak MB of a process that embeds so many photos of 64 pixels with timm's smallest network."""
    peaks = {}
    originals = []
    for path in sorted(photos.iterdir())[:100]:
        originals.append(scratch / f"small-{path.name}")
        Image.open(path).resize((64, 64)).save(originals[-1], quality=90)
    for count in sizes:
        folder = scratch / f"memory{count}"
        for number in range(count):
            path = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(originals[number % len(originals)], path)
        command = [sys.executable, "-c", MEMORY, str(folder), str(scratch / f"out{count}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[str(count)] = round(int(done.stdout) / 1024, 1)
        print(f"{count:>8,} photos: peak {peaks[str(count)]} MB", flush=True)
    values = list(peaks.values())
    return {"peak_mb": peaks, "growth": round(values[-1] / values[0], 3)}


def _rates(costs: dict[str, list[Cost]], photos: int) -> dict[str, Any]:
    """Photos a second by the clock and of a core's work, of the medians, and cpchub's by timm's."""
    rates: dict[str, Any] = {}
    for key, seconds in (("rate", "clock"), ("of_a_core", "cores")):
        found = {
            who: photos / statistics.median(getattr(one, seconds) for one in all_of) for who, all_of in costs.items()
        }
        rates[key] = {who: round(rate, 2) for who, rate in found.items()}
        rates[key]["ratio"] = round(found["cpchub"] / found["timm"], 2)
    return rates


def _path(encoder: Any, images: int) -> str:
    """The path that a job of so many images takes."""
    embedder = encoder.embedder(images)
    embedder.encode([embedder.prepare(Image.new("RGB", (300, 300), (9, 90, 200)))])
    embedder.close()
    return str(embedder.path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos to make the 500-pixel ones of")
    parser.add_argument("--networks", nargs="*", default=["resnet50", "resnet18"])
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--whole", type=int, default=1000, help="photos of the run in which everything counts; 0: none")
    parser.add_argument("--steady", type=int, nargs=2, default=(448, 704), help="photos of the two runs compared")
    parser.add_argument("--alone", type=int, default=2, help="batches of the network alone")
    parser.add_argument("--turns", type=int, default=3, help="of steady state and the networks alone; 0: none")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="photos, for the peak of memory")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "embedding.json")
    options = parser.parse_args()
    report = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    report["machine"] = {"cores": os.cpu_count(), "capability": torch.backends.cpu.get_cpu_capability()}
    if torch.cuda.is_available():
        report["machine"]["gpu"] = torch.cuda.get_device_name()
    report["versions"] = {"torch": torch.__version__, "timm": timm.__version__, "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        photos = photos_of_500_pixels(options.photos, scratch / "photos", max(options.whole, options.steady[1]))
        for name in options.networks if "network" in options.parts else []:
            found = speed(name, photos, scratch, options)
            report.setdefault("networks", {}).setdefault(name, {}).update(found)
            print(name, json.dumps(found, indent=2))
            options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        for name in options.networks if "gpu_decoding" in options.parts and torch.cuda.is_available() else []:
            found = gpu_decoding(name, photos, scratch, options)
            report.setdefault("gpu_decoding", {})[name] = found
            print("decoding on the GPU", name, json.dumps(found, indent=2))
            options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        if "camera" in options.parts:
            report["camera"] = camera(photos, scratch, 8)
            print("camera", json.dumps(report["camera"], indent=2))
        if "memory" in options.parts:
            report["memory"] = memory(photos, scratch, options.sizes)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    in_one_line(main)

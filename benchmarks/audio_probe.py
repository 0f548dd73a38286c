"""What CPC learns from spoken digits without labels: linear probes on frozen features, beside two rivals.

    CPCHUB_DATA=... python -m benchmarks.audio_probe --out runs/audio_probe

Trains the recipe `cpc_audio_fsdd` (a run that was stopped goes on), encodes every recording of the Free Spoken Digit
Dataset as the mean of c_t, and fits a linear classifier for the digit and one for the speaker. The rivals are the same
network untrained, and the mean over time of the mel-frequency cepstral coefficients. The test part is never trained on.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.in_one_line import in_one_line
from cpchub.common.files import write_json
from cpchub.encoders.load import load
from cpchub.encoders.model_folder import write
from cpchub.media.sounds import read_sound
from cpchub_training import recipes
from cpchub_training.data import recordings as audio_data
from cpchub_training.jobs import pretrain
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.loop import train

STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/audio_probe"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/audio_probe.json"))
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()

    recipe = recipes.get("cpc_audio_fsdd")
    if args.epochs:
        recipe = replace(recipe, epochs=args.epochs)
    root = Path(os.environ.get("CPCHUB_DATA", "data"))
    parts = {part: audio_data.fsdd_part(root, test=part == "test") for part in ("train", "test")}
    recordings = audio_data.load(recipe.data, recipe.audio)

    torch.manual_seed(recipe.seed)
    untrained = build_backbone(recipe)
    started = time.monotonic()
    backbone = train(recipe, args.out / "run", images=recordings).backbone
    seconds = time.monotonic() - started

    features = {"mean of 13 MFCC": _mfcc_of(parts, 13), "mean of 40 MFCC": _mfcc_of(parts, 40)}
    for name, network in (("untrained encoder", untrained), ("CPC", backbone)):
        folder = args.out / name.replace(" ", "-")
        facts = pretrain.describe(recipe, len(recordings), folder.name.lower())
        write(network, folder, facts=facts, recipe=recipe.to_dict(), evaluation=None)
        encoder = load(folder, device="cpu")
        features[name] = {part: encoder.encode(files) for part, (files, _, _) in parts.items()}

    rows = []
    for name, x in features.items():
        row: dict[str, Any] = {"features": name, "dim": x["train"].shape[1]}
        for task, position in (("digit", 1), ("speaker", 2)):
            row[task] = round(probe(x["train"], parts["train"][position], x["test"], parts["test"][position]), 4)
        rows.append(row)
        print(f"{name:<20} {row['dim']:>4}  digit {row['digit']:.1%}  speaker {row['speaker']:.1%}", flush=True)
    measured = {
        "data": {"name": "Free Spoken Digit Dataset", "train": len(parts["train"][0]), "test": len(parts["test"][0])},
        "protocol": "logistic regression on the standardised mean over time, strength chosen within the training part",
        "recipe": recipe.to_dict(),
        "training_seconds": round(seconds),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "results": rows,
    }
    write_json(args.json, measured)


def probe(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    """Test accuracy of a linear classifier whose strength was chosen on a held-out fifth of the training part."""
    fit, held, y_fit, y_held = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    best = max(STRENGTHS, key=lambda c: _classifier(c).fit(fit, y_fit).score(held, y_held))
    return float(_classifier(best).fit(x, y).score(x_test, y_test))


def _classifier(strength: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _mfcc_of(parts: dict[str, Any], count: int) -> dict[str, np.ndarray]:
    return {
        part: np.stack([mfcc(*read_sound(f), count).mean(0) for f in files]) for part, (files, _, _) in parts.items()
    }


def mfcc(waveform: np.ndarray, rate: int, count: int, bands: int = 40) -> np.ndarray:
    """Mel-frequency cepstral coefficients `[frames, count]`: Hamming windows of 25 ms every 10 ms, `bands` mel filters.

    As in HTK: pre-emphasis 0.97, mel = 2595 log10(1 + f / 700), triangular filters, orthonormal type-II DCT of the log.
    """
    length, hop = round(0.025 * rate), round(0.010 * rate)
    size = 1 << (length - 1).bit_length()
    x = np.append(waveform[0], waveform[1:] - 0.97 * waveform[:-1])
    starts = np.arange(0, max(1, len(x) - length + 1), hop)
    frames = np.pad(x, (0, max(0, length - len(x))))[starts[:, None] + np.arange(length)] * np.hamming(length)
    power = np.abs(np.fft.rfft(frames, size)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequency = np.arange(size // 2 + 1) * rate / size
    rising = (frequency - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequency) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    coefficients: np.ndarray = dct(np.log(power @ filters.T + 1e-10), type=2, norm="ortho")[:, :count]
    return coefficients


if __name__ == "__main__":
    in_one_line(main)

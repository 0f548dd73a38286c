"""The protocols: kNN, linear probe and few labels on frozen features; each returns rows of `eval.json`."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from cpchub.encoder import Encoder
from cpchub.fewlabels import KNNClassifier, LogisticProbe, label_subsets
from training import data

FORMAT = 1
_PACKAGES = ("torch", "timm", "scikit-learn", "numpy")


def evaluate(
    encoder: Encoder,
    dataset: str,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    fractions: Sequence[float] = (0.01, 0.1),
) -> dict[str, Any]:
    """kNN, linear and few-label accuracy of `encoder` on the test part of `dataset`: the content of `eval.json`."""
    train, test = (data.load(dataset, split=part) for part in ("train", "test"))
    x, x_test = (encode_pictures(encoder, part) for part in (train, test))
    y, y_test = train.class_of_each(), test.class_of_each()
    rows = [*knn(x, y, x_test, y_test), linear(x, y, x_test, y_test)]
    rows += [low_label(x, y, x_test, y_test, fraction, seeds) for fraction in fractions]
    common = {"dataset": train.name, "split": "test", "metric": "accuracy"}
    weights = encoder.spec.files.get("model.safetensors")
    return {
        "format": FORMAT,
        "model": encoder.spec.name,
        "weights_sha256": weights.sha256 if weights else None,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
        "data": {"name": train.name, "train_digest": train.digest(), "test_digest": test.digest()},
        "results": [common | row for row in rows],
    }


def encode_pictures(encoder: Encoder, pictures: data.Pictures) -> np.ndarray:
    """Features `[N, D]` of a data set in memory, through the encoder's own transform, with a progress bar."""
    return encoder.encode(list(pictures.images.permute(0, 2, 3, 1).numpy()), batch_size=500, progress=True)


def knn(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> list[dict[str, Any]]:
    """Weighted kNN as in InstDisc (arXiv 1805.01978, section 3.4): k = 200 with T = 0.1, and k = 20."""
    rows = []
    for k in (200, 20):
        k = min(k, len(x))
        value = KNNClassifier(k=k, temperature=0.1).fit(x, y).score(x_test, y_test)
        protocol = f"weighted kNN on frozen features, k={k}, T=0.1, cosine, final epoch"
        rows.append(_row("knn", f"knn_k{k}", value, protocol, len(y), seeds=[]))
    return rows


def linear(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> dict[str, Any]:
    """Logistic regression on frozen features; its regularisation is chosen on held-out training pictures."""
    probe = LogisticProbe().fit(x, y)
    protocol = "logistic regression on frozen features, regularisation chosen on training pictures, final epoch"
    return _row("linear", "linear_probe", probe.score(x_test, y_test), protocol, len(y), seeds=[])


def low_label(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, fraction: float, seeds: Sequence[int]
) -> dict[str, Any]:
    """Logistic regression on a `fraction` of the labels, equally many a class, mean and spread over `seeds`."""
    per_class = max(1, round(fraction * len(y) / len(np.unique(y))))
    values = []
    for seed in seeds:
        rows = label_subsets(y, [per_class], seed)[per_class]
        values.append(LogisticProbe().fit(x[rows], y[rows]).score(x_test, y_test))
    protocol = f"logistic regression on frozen features, {per_class} labels a class, final epoch"
    config = f"lowshot_{fraction:.0%}".replace("%", "pct")
    labels = per_class * len(np.unique(y))
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    return _row("low-label", config, mean, protocol, labels, list(seeds), std)


def _row(
    task: str, config: str, value: float, protocol: str, labels: int, seeds: list[int], std: float | None = None
) -> dict[str, Any]:
    return {
        "task": task,
        "config": config,
        "value": round(float(value), 4),
        "std": None if std is None else round(std, 4),
        "seeds": seeds,
        "protocol": protocol,
        "labels": labels,
    }

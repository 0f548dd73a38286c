"""Train detectors on an encoder, frozen or fine-tuned, and on the same network from scratch; measure them alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from cpchub.common.files import write_json
from cpchub.common.progress import Report
from cpchub.common.quiet import remark
from cpchub.encoders.load import load
from cpchub.errors import ArgumentError, RunError, SourceError
from cpchub.media.decode import read_image
from cpchub_training.data.left_out import tell_left_out
from cpchub_training.detection.average_precision import Boxes, coco_ap, voc_ap
from cpchub_training.detection.network import Style, faster_rcnn, freeze, train_mode
from cpchub_training.detection.voc import Scene, digest, read_voc
from cpchub_training.evaluate.naming import DETECTION, DETECTIONS, home_of, identity
from cpchub_training.evaluate.readable import checked
from cpchub_training.recipes.seeds import check_seeds
from cpchub_training.run.optimizers import schedule

Mode = Literal["frozen", "fine-tuned", "scratch"]
MODES: tuple[Mode, ...] = ("frozen", "fine-tuned", "scratch")
VERSIONS = {name: version(name) for name in ("torch", "torchvision", "timm")}
METRICS = ("voc07_ap50", "voc12_ap50", "coco_ap", "coco_ap50")


@dataclass(frozen=True)
class Settings:
    """What decides a detector. The short side of images is `side` pixels; `lr` is for a batch of `batch_size`."""

    style: Style = "fpn"
    side: int = 800
    width: int = 256  # channels of the pyramid
    steps: int = 2000
    batch_size: int = 4
    lr: float = 0.01
    weight_decay: float = 1e-4
    train_split: str = "trainval"
    test_split: str = "test"

    def check(self) -> None:
        """Raise `ArgumentError` for values that cannot work."""
        for name in ("side", "width", "steps", "batch_size", "lr"):
            if getattr(self, name) <= 0:
                raise ArgumentError(f"{name}={getattr(self, name)} must be above 0; change --{name.replace('_', '-')}")
        if self.style not in ("fpn", "c4"):
            raise ArgumentError(f"style={self.style!r} is neither 'fpn' nor 'c4'")


def measure(
    encoder: str,
    root: Path,
    settings: Settings,
    *,
    modes: Sequence[Mode] = MODES,
    seeds: Sequence[int] = (0, 1, 2),
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """A row a mode: AP in per cent over `seeds`, mean and standard deviation, on the test split at the last step.

    Each detector's numbers are kept in `out`, by default `runs/detection/NAME`, as they are measured, so a call that
    was stopped goes on; `detection.json` holds the rows. A seed draws the detector's own weights, the order of the
    images and their flips.
    Raises SourceError for data that cannot be read, ArgumentError, RunError where training diverges, OutputError for
    an `out` with the numbers of a different encoder.
    """
    settings.check()
    check_seeds(seeds)
    if not modes:
        raise ArgumentError(f"no mode to measure; name one of {', '.join(MODES)}")
    if unknown := set(modes) - set(MODES):
        raise ArgumentError(f"mode {min(unknown)!r} is not one of {', '.join(MODES)}")
    spec = load(encoder, device="cpu").spec
    spec.check_takes_images("detection")
    out = home_of(spec, encoder, out, root=DETECTIONS, file=DETECTION)
    train, classes = read_voc(root, settings.train_split)
    test, _ = read_voc(root, settings.test_split, classes)
    train, test = _readable(root, train, test)
    data = [digest(scenes) for scenes in (train, test)]
    rows = []
    for mode in modes:
        values = [
            _one(encoder, spec.fingerprint, mode, seed, settings, train, test, classes, data, out) for seed in seeds
        ]
        row: dict[str, Any] = {"encoder": spec.name, "mode": mode, "seeds": list(seeds)}
        for metric in METRICS:
            scores = [value[metric] for value in values]
            row[metric] = round(float(np.mean(scores)), 4)
            row[f"{metric}_std"] = round(float(np.std(scores, ddof=1)), 4) if len(scores) > 1 else None
        rows.append(row)
    write_json(
        out / DETECTION,
        {
            **identity(spec),
            "settings": asdict(settings),
            "classes": list(classes),
            "train_pictures": len(train),
            "test_pictures": len(test),
            "train_digest": data[0],
            "test_digest": data[1],
            "versions": VERSIONS,
            "results": rows,
        },
    )
    remark(f"All settings and numbers: {out / DETECTION}")
    return rows


def _readable(root: Path, *splits: Sequence[Scene]) -> list[list[Scene]]:
    """The scenes of each split whose image can be read; says on the console which ones are left out.

    Raises SourceError for a split of which none can.
    """
    paths = list(dict.fromkeys(scene.path for scenes in splits for scene in scenes))
    known = checked(paths)
    tell_left_out([(path.name, reason) for path, reason in known.broken.items()], len(paths), root.name)
    readable = [[scene for scene in scenes if scene.path in known.sha256] for scenes in splits]
    for before, after in zip(splits, readable, strict=True):
        if not after:
            raise SourceError(f"none of a split's {len(before)} images in {root} can be read")
    return readable


def _one(
    encoder: str,
    fingerprint: str,
    mode: Mode,
    seed: int,
    settings: Settings,
    train: Sequence[Scene],
    test: Sequence[Scene],
    classes: tuple[str, ...],
    data: Sequence[str],
    out: Path,
) -> dict[str, float]:
    """The numbers of one detector, from the file of an earlier call if all that decides them is the same."""
    decides = [fingerprint, mode, seed, asdict(settings), classes, data, VERSIONS]
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:12]
    kept = out / "detectors" / f"{mode}-{seed}-{key}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    torch.manual_seed(seed)
    source = load(encoder, pretrained=mode != "scratch")
    detector = faster_rcnn(
        source.model, source.spec, len(classes), style=settings.style, side=settings.side, width=settings.width
    ).to(source.device)
    if mode == "frozen":
        freeze(detector)
    _train(detector, train, settings, seed, frozen=mode == "frozen", what=f"{mode}, seed {seed}")
    values = score(detect(detector, test), [scene.truth for scene in test], len(classes))
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, values)
    return values


def _train(
    detector: FasterRCNN, scenes: Sequence[Scene], settings: Settings, seed: int, *, frozen: bool, what: str
) -> None:
    """SGD with momentum 0.9, warm-up over a twentieth of the steps, then a cosine; images are flipped by chance."""
    trained = [p for p in detector.parameters() if p.requires_grad]
    device = trained[0].device
    optimizer = torch.optim.SGD(trained, lr=settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    train_mode(detector, frozen)
    with Report(f"Training, {what}", settings.steps, unit="step", rate=False) as report:
        for step in range(settings.steps):
            while len(order) < settings.batch_size:
                order += torch.randperm(len(scenes), generator=generator).tolist()
            rows, order = order[: settings.batch_size], order[settings.batch_size :]
            batch = [_flipped(image(scenes[i]), scenes[i].truth, generator, device) for i in rows]
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * schedule(step, settings.steps, max(1, settings.steps // 20))
            losses = detector([x for x, _ in batch], [target for _, target in batch])
            loss: Tensor = sum(losses.values(), torch.zeros((), device=device))
            if not bool(loss.isfinite()):
                raise RunError(f"the detector's loss is {loss.item()} at step {step} ({what}); lower --lr")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            report.note = f"loss {loss.item():.3f}"
            report.advance()


def detect(detector: FasterRCNN, scenes: Sequence[Scene]) -> list[Boxes]:
    """What the detector finds in each image, in that image's pixels."""
    detector.eval()
    device = next(detector.parameters()).device
    found = []
    with torch.inference_mode(), Report("Detecting", len(scenes)) as report:
        for scene in scenes:
            (result,) = detector([image(scene).to(device)])
            corners, labels, scores = (result[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
            found.append(Boxes(corners.astype(np.float64), labels.astype(np.int64) - 1, scores.astype(np.float64)))
            report.advance()
    return found


def score(found: Sequence[Boxes], truth: Sequence[Boxes], n_classes: int) -> dict[str, float]:
    """The four numbers, means over the classes that the truth has."""
    coco = coco_ap(found, truth, n_classes)
    return {
        "voc07_ap50": float(np.nanmean(voc_ap(found, truth, n_classes, eleven_points=True))),
        "voc12_ap50": float(np.nanmean(voc_ap(found, truth, n_classes))),
        "coco_ap": float(np.nanmean(coco)),
        "coco_ap50": float(np.nanmean(coco[0])),
    }


def image(scene: Scene) -> Tensor:
    """The image as it lies in its file, `[3, H, W]` in 0..1."""
    return torch.from_numpy(np.array(read_image(scene.path))).permute(2, 0, 1).float() / 255


def _flipped(
    image: Tensor, truth: Boxes, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """An image and its target in torchvision's form, mirrored by chance; difficult objects are left out."""
    kept = np.ones(len(truth.labels), bool) if truth.difficult is None else ~truth.difficult
    corners = torch.from_numpy(truth.corners[kept]).float()
    if bool(torch.rand((), generator=generator) < 0.5):
        image = image.flip(-1)
        corners[:, [0, 2]] = image.shape[-1] - corners[:, [2, 0]]
    labels = torch.from_numpy(truth.labels[kept]) + 1
    return image.to(device), {"boxes": corners.to(device), "labels": labels.to(device)}

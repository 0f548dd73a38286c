"""Detection transfer: torchvision's Faster R-CNN on an encoder of ours, on data in PASCAL VOC's layout."""

from __future__ import annotations

from cpchub_training.detection.average_precision import Boxes, coco_ap, voc_ap
from cpchub_training.detection.transfer import Settings, measure
from cpchub_training.detection.voc import Scene, read_voc

__all__ = ["Boxes", "Scene", "Settings", "coco_ap", "measure", "read_voc", "voc_ap"]

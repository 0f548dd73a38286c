"""Measure any finished encoder by the same protocols, and write `eval.json`.

Every number is measured once, on the test part, with the encoder as published (`Encoder.encode`, its own transform).
Choices such as the regularisation are made on training images only; protocols never see a test label.
"""

from __future__ import annotations

from cpchub_training.evaluate.datasets import DataSet, open_labelled
from cpchub_training.evaluate.evaluation import evaluate, merged
from cpchub_training.evaluate.features import FeatureCache
from cpchub_training.evaluate.scratch import encode_images, from_scratch
from cpchub_training.evaluate.task import Settings

__all__ = [
    "DataSet",
    "FeatureCache",
    "Settings",
    "encode_images",
    "evaluate",
    "from_scratch",
    "merged",
    "open_labelled",
]

"""Measure a finished encoder, the same way wherever it comes from, into `eval.json`.

Every number is of the encoder as published (its own transform, through `Encoder.encode`), on the test part, once.
Choices such as a regularisation are made on training pictures alone: protocols never see a test label.
"""

from __future__ import annotations

from cpchub_training.evaluate.datasets import DataSet, open_labelled
from cpchub_training.evaluate.evaluation import evaluate, merged
from cpchub_training.evaluate.features import FeatureCache
from cpchub_training.evaluate.scratch import encode_pictures, from_scratch
from cpchub_training.evaluate.task import Settings

__all__ = [
    "DataSet",
    "FeatureCache",
    "Settings",
    "encode_pictures",
    "evaluate",
    "from_scratch",
    "merged",
    "open_labelled",
]

"""Measure a finished encoder, the same way wherever it comes from, into `eval.json`.

Every number is of the encoder as published (its own transform, through `Encoder.encode`), on the test part, once.
Choices such as a regularisation are made on training pictures alone.
"""

from __future__ import annotations

from training.evaluate.protocols import encode_pictures, evaluate, knn, linear, low_label
from training.evaluate.scratch import from_scratch

__all__ = ["encode_pictures", "evaluate", "from_scratch", "knn", "linear", "low_label"]

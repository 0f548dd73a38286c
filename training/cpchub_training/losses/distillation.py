"""The distillation loss: cross-entropy of a student under its teacher's predictions."""

from __future__ import annotations

from torch import Tensor

from cpchub_training.losses.precision import without_autocast


@without_autocast
def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the student's classes under the teacher's (arXiv 2006.10029, eq. 2), the mean over N images.

    `student`, `teacher`: logits `[N, classes]`, both divided by the temperature; no gradient reaches the teacher. Not
    multiplied by the square of the temperature, as Hinton et al. and the authors' notebook do.
    Equal logits give the entropy of the teacher; a student of zeros gives log(classes).
    """
    p = (teacher.detach().float() / temperature).softmax(-1)
    return -(p * (student.float() / temperature).log_softmax(-1)).sum(-1).mean()

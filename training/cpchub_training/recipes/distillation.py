"""The settings of SimCLR v2's last two steps (arXiv 2006.10029): fine-tuning and distillation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Distillation:
    """The settings of both steps. Learning rates are for LARS; 0 means SimCLR v2's rule for the batch size."""

    label_fraction: float = 0.01  # share of the labels that fine-tuning uses, equally many a class
    head_layers: int = 1  # of the projection head that fine-tuning keeps
    fine_tune_epochs: int = 60  # the paper's for 1 % of the labels; 30 for 10 %
    fine_tune_lr: float = 0.0  # 0.005 sqrt(batch size)
    student: str = ""  # timm architecture; the teacher's own where empty
    student_args: str = "{}"  # its arguments as JSON
    temperature: float = 1.0  # 0.1 in the paper where the student is the teacher's own architecture
    epochs: int = 400  # of distillation
    lr: float = 0.0  # 0.075 sqrt(batch size)
    batch_size: int = 0  # the pretraining's where 0
    seed: int = 0  # of the labels that are drawn, and of both steps

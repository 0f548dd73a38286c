"""What encoders of images and encoders of sounds share: a timm network in eval mode, and its spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from cpchub.catalog.spec import ModelSpec
from cpchub.common.progress import Report
from cpchub.encoders import network
from cpchub.errors import ArgumentError

Batch = TypeVar("Batch")


class BaseEncoder(nn.Module):
    """A network in eval mode with its `spec`. A subclass adds `forward`, `prepare` and `encode` for its inputs."""

    exact = False  # True where a dtype was asked for: then no faster path in another precision is taken

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.model: Any = model.eval()  # the type nn.Module does not have timm's methods
        self.spec = spec

    def __repr__(self) -> str:
        """One line; `encoder.model` shows the layers."""
        spec = self.spec
        takes = "x".join(map(str, spec.input_size)) if spec.sample_rate is None else f"{spec.sample_rate:,} Hz"
        facts = f"{spec.architecture}, {takes} to {spec.dim} numbers, {self.device}, {self.dtype}"
        return f"{type(self).__name__}({spec.name!r}, {facts})"

    @property
    def dim(self) -> int:
        """D, the length of a pooled vector."""
        return network.width(self.model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.model.parameters()).dtype

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """No gradients, and the network in eval mode; afterwards it is in the mode that it was in before."""
        training = self.model.training
        self.model.eval()  # batch statistics would make a vector depend on the other inputs of its batch
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(training)

    # timm's contract. Each call goes to the network.

    @property
    def num_features(self) -> int:
        return int(self.model.num_features)

    @property
    def num_classes(self) -> int:
        return int(self.model.num_classes)

    @property
    def feature_info(self) -> Any:
        return self.model.feature_info

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        cfg: dict[str, Any] = self.model.pretrained_cfg
        return cfg

    @property
    def default_cfg(self) -> dict[str, Any]:
        return self.pretrained_cfg

    def forward_features(self, x: Tensor) -> Tensor:
        features: Tensor = self.model.forward_features(x)
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled: Tensor = self.model.forward_head(x, pre_logits=pre_logits)
        return pooled

    def forward_intermediates(self, x: Tensor, **kwargs: Any) -> Any:
        return self.model.forward_intermediates(x, **kwargs)

    def get_classifier(self) -> nn.Module:
        classifier: nn.Module = self.model.get_classifier()
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        if global_pool is None:
            self.model.reset_classifier(num_classes)
        else:
            self.model.reset_classifier(num_classes, global_pool)


def check_options(batch_size: int, output: str, outputs: Sequence[str]) -> None:
    """Raises ArgumentError for a batch size below 1 and for an output that is not one of `outputs`."""
    if batch_size < 1:
        raise ArgumentError(f"batch_size is {batch_size}; it must be at least 1")
    if output not in outputs:
        raise ArgumentError(f"output is {output!r}; use {' or '.join(map(repr, outputs))}")


def as_list(inputs: Any, *, one: tuple[type, ...], axes_of_many: int, give: str) -> list[Any]:
    """One input or many, as a list.

    one: the types of a single input. axes_of_many: an array or tensor with so many axes is many inputs; with another
    number of axes it is one. give: the inputs that are possible, for the ArgumentError about another type.
    """
    if isinstance(inputs, one):
        return [inputs]
    if isinstance(inputs, (np.ndarray, Tensor)):
        return list(inputs) if inputs.ndim == axes_of_many else [inputs]
    if isinstance(inputs, Iterable):
        return list(inputs)
    raise ArgumentError(f"cannot encode {type(inputs).__name__}; give {give}")


def with_progress(
    batches: Iterator[Batch], total: int, size: Callable[[Batch], int], unit: str = "image"
) -> Iterator[Batch]:
    """The same batches, with a progress bar. total: all inputs. size: the inputs in a batch. unit: what an input is."""
    with Report("Encoding", total, unit=unit) as report:
        for batch in batches:
            yield batch
            report.advance(size(batch))

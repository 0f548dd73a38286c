"""A whole encoder fine-tuned on a few labelled images, or the same network trained on them from scratch."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels.network_training import Schedule, Views, flip_and_shift, predict_proba, train

if TYPE_CHECKING:
    from cpchub.encoders.base import BaseEncoder

Array = npt.NDArray[Any]


class FineTunedEncoder(ClassifierMixin, BaseEstimator):
    """An encoder with a linear classifier on it, all of it trained on uint8 images `[N, H, W, 3]` of one size.

    encoder: what `cpchub.load` takes, or an `Encoder`, which is copied, without the classifier that it may have.
    pretrained: False trains the same network from scratch.
    steps, batch_size, lr, weight_decay, backbone_lr: as in `network_training.Schedule`; None takes 300 steps at
        lr 3e-3, the encoder at a tenth of it, or all of it at 5e-3 from scratch.
    views: random views of a uint8 batch; by default mirrored and slightly shifted images of the encoder's input size.
    random_state: seed of the new weights, the draws and the views.

    After `fit`, `backbone_` and `head_` are the network.
    """

    def __init__(
        self,
        encoder: Any = None,
        *,
        pretrained: bool = True,
        steps: int = 300,
        batch_size: int = 64,
        lr: float | None = None,
        backbone_lr: float | None = None,
        weight_decay: float = 0.05,
        views: Views | None = None,
        random_state: int = 0,
        device: str | None = None,
    ) -> None:
        self.encoder = encoder
        self.pretrained = pretrained
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.backbone_lr = backbone_lr
        self.weight_decay = weight_decay
        self.views = views
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any) -> FineTunedEncoder:
        """Train on images `[N, H, W, 3]` and labels `[N]`. Raises LabelError on a single class."""
        images, labels = as_images(X), np.asarray(y)
        if len(images) != len(labels):
            raise ArgumentError(f"{len(images)} images and {len(labels)} labels; give a label for each image")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise LabelError(f"labels of one class only ({self.classes_[0]}); label at least one of a second class")
        torch.manual_seed(self.random_state)
        encoder = self._network()
        self._spec = encoder.spec
        self.backbone_: nn.Module = encoder.model.to(memory_format=torch.channels_last)
        device = encoder.device
        self.head_ = nn.Linear(encoder.dim, len(self.classes_), device=device)
        nn.init.zeros_(self.head_.weight)
        train(
            self.backbone_,
            self.head_,
            images.to(device),
            torch.from_numpy(codes).to(device),
            self._plan(),
            views=self.views or flip_and_shift(self._spec.input_size[-1]),
            mean=self._spec.mean,
            std=self._spec.std,
            seed=self.random_state,
        )
        return self

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities `[N, len(classes_)]` of images `[N, H, W, 3]`."""
        check_is_fitted(self, "head_")
        _, height, width = self._spec.input_size
        return predict_proba(
            self.backbone_, self.head_, as_images(X), side=(height, width), mean=self._spec.mean, std=self._spec.std
        )

    def predict(self, X: Any) -> Array:
        """The most probable class of each image, `[N]`."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def _plan(self) -> Schedule:
        """The given values, and the defaults of the two cases for those that were not."""
        lr, backbone_lr = (3e-3, 0.1) if self.pretrained else (5e-3, 1.0)
        return Schedule(
            steps=self.steps,
            batch_size=self.batch_size,
            lr=lr if self.lr is None else self.lr,
            backbone_lr=backbone_lr if self.backbone_lr is None else self.backbone_lr,
            weight_decay=self.weight_decay,
        )

    def _network(self) -> BaseEncoder:
        """The encoder with its weights, or with new ones; always a network of our own to change."""
        from cpchub.encoders.base import BaseEncoder
        from cpchub.encoders.load import load

        if self.encoder is None:
            raise ArgumentError("encoder is None; give the name of one, its folder, or an Encoder")
        if not isinstance(self.encoder, BaseEncoder):
            loaded = load(self.encoder, pretrained=self.pretrained, device=self.device)
            loaded.spec.check_takes_images("FineTunedEncoder")
            return loaded
        self.encoder.spec.check_takes_images("FineTunedEncoder")
        device = self.device or self.encoder.device
        if self.pretrained:
            copied = copy.deepcopy(self.encoder).float().to(device)
            copied.reset_classifier(0)
            return copied
        spec = self.encoder.spec
        arguments = {name: value for name, value in spec.model_args.items() if name != "num_classes"}
        return load(spec.folder or spec.name, pretrained=False, device=device, **arguments)


def as_images(X: Any) -> torch.Tensor:
    """uint8 `[N, H, W, 3]` as a tensor `[N, 3, H, W]`; ArgumentError for anything else."""
    array = np.asarray(X)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not len(array):
        raise ArgumentError(f"an array of {array.dtype} {array.shape} is not uint8 images [N, H, W, 3] of one size")
    return torch.from_numpy(np.ascontiguousarray(array)).permute(0, 3, 1, 2)

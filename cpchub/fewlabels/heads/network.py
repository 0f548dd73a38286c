"""A fitted classifier as a network in torch, so that it can be exported together with its encoder.

    features, the encoder's output [N, D] -> unit length -> logits -> class probabilities [N, C]

A classifier of another kind needs its own `network_of`: see `functools.singledispatch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpchub.errors import ExportError
from cpchub.fewlabels.auto import AutoClassifier
from cpchub.fewlabels.base import FeatureClassifier
from cpchub.fewlabels.calibration import NEVER_SEEN, Calibrated
from cpchub.fewlabels.knn import KNNClassifier
from cpchub.fewlabels.logistic import LogisticProbe
from cpchub.fewlabels.means import ClassMeans
from cpchub.fewlabels.none_of_these import NoneOfThese
from cpchub.fewlabels.one_vs_rest import OneVsRest
from cpchub.fewlabels.ridge import RidgeProbe
from cpchub.fewlabels.shrunk_means import T_USUAL, ShrunkMeans


class HeadNetwork(nn.Module):
    """Features `[N, D]` to the class probabilities `[N, C]` of a fitted classifier."""

    def __init__(self, classifier: FeatureClassifier) -> None:
        super().__init__()
        self.of_unit = network_of(classifier)

    def forward(self, features: Tensor) -> Tensor:
        return self.of_unit(F.normalize(features, dim=1))


@singledispatch
def network_of(classifier: FeatureClassifier) -> nn.Module:
    """The network of a fitted classifier: unit features `[N, D]` to class probabilities `[N, C]`."""
    raise ExportError(f"a {type(classifier).__name__} has no network to export; choose another classifier")


class Each(nn.Module):
    """The probability of each class on its own: that of the second of two classes, by the network of each class."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, unit: Tensor) -> Tensor:
        return torch.stack([network(unit)[:, 1] for network in self.networks], dim=1)


class Linear(nn.Module):
    """Probabilities softmax((x - centre) W^T + b)."""

    def __init__(self, weights: Any, intercepts: Any, centre: Any = 0.0) -> None:
        super().__init__()
        w = np.asarray(weights, dtype=np.float64)
        b = np.asarray(intercepts, dtype=np.float64) - w @ np.broadcast_to(centre, w.shape[1])
        self.weights: Tensor
        self.intercepts: Tensor
        self.register_buffer("weights", _tensor(w))
        self.register_buffer("intercepts", _tensor(b))

    def forward(self, unit: Tensor) -> Tensor:
        return F.linear(unit, self.weights, self.intercepts).softmax(dim=1)


class Supported(nn.Module):
    """Probabilities that are no surer than the labels support: `cpchub.fewlabels.calibration.supported`."""

    def __init__(self, network: nn.Module, temperature: float, labels: float) -> None:
        super().__init__()
        self.network = network
        self.temperature, self.labels = float(temperature), float(labels)

    def forward(self, unit: Tensor) -> Tensor:
        p = self.network(unit)
        p = (p.clamp_min(torch.finfo(p.dtype).tiny).log() / self.temperature).softmax(dim=1)
        return (self.labels * p + NEVER_SEEN / p.shape[1]) / (self.labels + NEVER_SEEN)


class Typical(nn.Module):
    """Features `[N, D]` to how typical they are of the class that they are most typical of, `[N]`, -1 to 1."""

    def __init__(self, detector: NoneOfThese) -> None:
        super().__init__()
        self.centre: Tensor
        self.whitening: Tensor
        self.means: Tensor
        self.register_buffer("centre", _tensor(detector.centre_))
        self.register_buffer("whitening", _tensor(detector.whitening_))
        self.register_buffer("means", _tensor(detector.means_))

    def forward(self, features: Tensor) -> Tensor:
        white = F.normalize((F.normalize(features, dim=1) - self.centre) @ self.whitening, dim=1)
        return (white @ self.means.T).amax(dim=1)


class Neighbours(nn.Module):
    """The votes of the k nearest labelled features, each counting by its weight."""

    def __init__(self, features: Any, votes: Any, k: int, temperature: float) -> None:
        super().__init__()
        self.features: Tensor
        self.votes: Tensor  # [N, C]
        self.register_buffer("features", _tensor(features))
        self.register_buffer("votes", _tensor(votes))
        self.k, self.temperature = min(k, len(votes)), float(temperature)

    def forward(self, unit: Tensor) -> Tensor:
        similarity, rows = (unit @ self.features.T).topk(self.k, dim=1)
        weights = (similarity / self.temperature).softmax(dim=1)
        votes = (weights.unsqueeze(2) * self.votes[rows]).sum(dim=1)
        return votes / votes.sum(dim=1, keepdim=True)


@network_of.register
def _(classifier: OneVsRest) -> nn.Module:
    return Each([network_of(each) for each in classifier.classifiers_])


@network_of.register
def _(classifier: LogisticProbe) -> nn.Module:
    weights = classifier._scale * classifier._weights
    plain = Linear(weights, classifier._intercepts, classifier._centre)
    return plain if classifier.C is not None else Supported(plain, classifier.temperature_, classifier._labels)


@network_of.register
def _(classifier: ClassMeans) -> nn.Module:
    return Linear(classifier.means_ / classifier.temperature_, np.zeros(len(classifier.classes_)))


@network_of.register
def _(classifier: KNNClassifier) -> nn.Module:
    votes = np.eye(len(classifier.classes_))[classifier._codes] * classifier._weights[:, None]
    return Neighbours(classifier._features, votes, classifier.k, classifier.temperature)


@network_of.register
def _(classifier: RidgeProbe) -> nn.Module:
    plain = Linear(classifier._weights.T, classifier._intercepts, classifier._centre)
    return Supported(plain, classifier.temperature_, classifier._labels)


@network_of.register
def _(classifier: ShrunkMeans) -> nn.Module:
    return Linear(classifier._weights / T_USUAL, classifier._intercepts / T_USUAL, classifier._centre)


@network_of.register
def _(classifier: AutoClassifier) -> nn.Module:
    return network_of(classifier.classifier_)


@network_of.register
def _(classifier: Calibrated) -> nn.Module:
    return Supported(network_of(classifier.classifier_), classifier.temperature_, classifier.labels_)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

"""Classifiers from a handful of labels, as scikit-learn estimators over encoder outputs.

Each is imported when it is first asked for: scikit-learn with scipy takes a second, `FineTunedEncoder` and `ResNetHead`
bring torch, and the plots matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cpchub.fewlabels.labels_saved import Saved, labels_saved  # now: the function has the name of its file

if TYPE_CHECKING:
    from cpchub.fewlabels.auto import AutoClassifier
    from cpchub.fewlabels.calibration import Calibrated
    from cpchub.fewlabels.choice.next_rows import Next, label_next
    from cpchub.fewlabels.curve import LabelCurve, label_curve, label_fractions, label_subsets
    from cpchub.fewlabels.estimate import ClassEstimate, Estimate, Share, estimate_accuracy
    from cpchub.fewlabels.finetune import FineTunedEncoder
    from cpchub.fewlabels.growth_plot import plot_labels_needed
    from cpchub.fewlabels.how_many import LabelsNeeded, how_many_labels
    from cpchub.fewlabels.knn import KNNClassifier
    from cpchub.fewlabels.logistic import LogisticProbe
    from cpchub.fewlabels.means import ClassMeans
    from cpchub.fewlabels.none_of_these import NoneOfThese
    from cpchub.fewlabels.one_vs_rest import OneVsRest
    from cpchub.fewlabels.plot import plot_label_curve
    from cpchub.fewlabels.resnet_head import ResNetHead
    from cpchub.fewlabels.ridge import RidgeProbe
    from cpchub.fewlabels.shrunk_means import ShrunkMeans

__all__ = [
    "AutoClassifier",
    "Calibrated",
    "ClassEstimate",
    "ClassMeans",
    "Estimate",
    "FineTunedEncoder",
    "KNNClassifier",
    "LabelCurve",
    "LabelsNeeded",
    "LogisticProbe",
    "Next",
    "NoneOfThese",
    "OneVsRest",
    "ResNetHead",
    "RidgeProbe",
    "Saved",
    "Share",
    "ShrunkMeans",
    "estimate_accuracy",
    "how_many_labels",
    "label_curve",
    "label_fractions",
    "label_next",
    "label_subsets",
    "labels_saved",
    "plot_label_curve",
    "plot_labels_needed",
]

_LATER = {
    "AutoClassifier": "auto",
    "Calibrated": "calibration",
    "ClassEstimate": "estimate",
    "ClassMeans": "means",
    "Estimate": "estimate",
    "FineTunedEncoder": "finetune",
    "KNNClassifier": "knn",
    "LabelCurve": "curve",
    "LabelsNeeded": "how_many",
    "LogisticProbe": "logistic",
    "Next": "choice.next_rows",
    "NoneOfThese": "none_of_these",
    "OneVsRest": "one_vs_rest",
    "ResNetHead": "resnet_head",
    "RidgeProbe": "ridge",
    "Share": "estimate",
    "ShrunkMeans": "shrunk_means",
    "estimate_accuracy": "estimate",
    "how_many_labels": "how_many",
    "label_curve": "curve",
    "label_fractions": "curve",
    "label_next": "choice.next_rows",
    "label_subsets": "curve",
    "plot_label_curve": "plot",
    "plot_labels_needed": "growth_plot",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)

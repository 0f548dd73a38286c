"""Classifiers from a handful of labels, as scikit-learn estimators over encoder outputs."""

from cpchub.fewlabels.curve import LabelCurve, label_curve, label_subsets
from cpchub.fewlabels.knn import KNNClassifier
from cpchub.fewlabels.logistic import LogisticProbe
from cpchub.fewlabels.means import ClassMeans
from cpchub.fewlabels.plot import plot_label_curve

__all__ = [
    "ClassMeans",
    "KNNClassifier",
    "LabelCurve",
    "LogisticProbe",
    "label_curve",
    "label_subsets",
    "plot_label_curve",
]

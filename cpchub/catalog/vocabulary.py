"""Titles for people: methods with their papers, data sets with their terms, measurements.

Files hold short keys (`moco_v2`, `cifar10`, `knn`); people read "MoCo v2", "CIFAR-10", "kNN". An unknown key is shown
unchanged.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Method(NamedTuple):
    """A way to train: how it is written, title and arXiv id of its paper, family, whether it uses labels."""

    title: str
    paper: str
    arxiv: str
    family: str
    labels: bool = False


class DataSet(NamedTuple):
    """A data set: its title, its id on the Hub if it is there, the terms of its images."""

    title: str
    hub_id: str | None
    terms: str


METHODS = {
    "cpc": Method("CPC", "Representation Learning with Contrastive Predictive Coding", "1807.03748", "cpc"),
    "cpc-v1": Method("CPC", "Representation Learning with Contrastive Predictive Coding", "1807.03748", "cpc"),
    "cpc-v2": Method(
        "CPC v2", "Data-Efficient Image Recognition with Contrastive Predictive Coding", "1905.09272", "cpc"
    ),
    "cpc-audio": Method("CPC", "Representation Learning with Contrastive Predictive Coding", "1807.03748", "cpc-audio"),
    "simclr": Method(
        "SimCLR", "A Simple Framework for Contrastive Learning of Visual Representations", "2002.05709", "simclr"
    ),
    "fine-tune": Method(
        "SimCLR v2 fine-tuning",
        "Big Self-Supervised Models are Strong Semi-Supervised Learners",
        "2006.10029",
        "simclr",
        labels=True,
    ),
    "distil": Method(
        "SimCLR v2 distillation",
        "Big Self-Supervised Models are Strong Semi-Supervised Learners",
        "2006.10029",
        "simclr",
        labels=True,
    ),
    "simclr-v2": Method(
        "SimCLR v2", "Big Self-Supervised Models are Strong Semi-Supervised Learners", "2006.10029", "simclr"
    ),
    "moco-v1": Method(
        "MoCo", "Momentum Contrast for Unsupervised Visual Representation Learning", "1911.05722", "moco"
    ),
    "moco": Method("MoCo", "Momentum Contrast for Unsupervised Visual Representation Learning", "1911.05722", "moco"),
    "moco-v2": Method("MoCo v2", "Improved Baselines with Momentum Contrastive Learning", "2003.04297", "moco"),
    "moco-v3": Method(
        "MoCo v3", "An Empirical Study of Training Self-Supervised Vision Transformers", "2104.02057", "moco"
    ),
    "instdisc": Method(
        "InstDisc",
        "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
        "1805.01978",
        "instdisc",
    ),
    "inva-spread": Method(
        "InvaSpread",
        "Unsupervised Embedding Learning via Invariant and Spreading Instance Feature",
        "1904.03436",
        "invaspread",
    ),
    "rotation": Method(
        "Rotation", "Unsupervised Representation Learning by Predicting Image Rotations", "1803.07728", "pretext"
    ),
    "exemplar": Method(
        "Exemplar",
        "Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural Networks",
        "1406.6909",
        "pretext",
    ),
    "relative-position": Method(
        "Relative position",
        "Unsupervised Visual Representation Learning by Context Prediction",
        "1505.05192",
        "pretext",
    ),
    "pseudo-label": Method(
        "Pseudo-label",
        "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks",
        "",
        "semi-supervised",
        labels=True,
    ),
    "entropy-minimization": Method(
        "Entropy minimisation", "Semi-supervised Learning by Entropy Minimization", "", "semi-supervised", labels=True
    ),
    "vat": Method(
        "VAT",
        "Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised Learning",
        "1704.03976",
        "semi-supervised",
        labels=True,
    ),
    "uda": Method(
        "UDA", "Unsupervised Data Augmentation for Consistency Training", "1904.12848", "semi-supervised", labels=True
    ),
    "supervised": Method("Supervised", "", "", "supervised", labels=True),
    "cmc": Method("CMC", "Contrastive Multiview Coding", "1906.05849", "cmc"),
    "pirl": Method("PIRL", "Self-Supervised Learning of Pretext-Invariant Representations", "1912.01991", "pirl"),
    "jigsaw": Method(
        "Jigsaw", "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", "1603.09246", "pretext"
    ),
    "swav": Method(
        "SwAV", "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", "2006.09882", "swav"
    ),
    "deepcluster-v2": Method(
        "DeepCluster v2",
        "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
        "2006.09882",
        "deepcluster",
    ),
    "sela-v2": Method(
        "SeLa v2", "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", "2006.09882", "sela"
    ),
    "simsiam": Method("SimSiam", "Exploring Simple Siamese Representation Learning", "2011.10566", "simsiam"),
    "infomin": Method("InfoMin", "What Makes for Good Views for Contrastive Learning?", "2005.10243", "infomin"),
    "barlow-twins": Method(
        "Barlow Twins", "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", "2103.03230", "barlow-twins"
    ),
    "vicreg": Method(
        "VICReg",
        "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        "2105.04906",
        "vicreg",
    ),
    "byol": Method(
        "BYOL", "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", "2006.07733", "byol"
    ),
    "dino": Method("DINO", "Emerging Properties in Self-Supervised Vision Transformers", "2104.14294", "dino"),
    "dcl": Method("DCL", "Decoupled Contrastive Learning", "2110.06848", "dcl"),
    "pcl": Method("PCL", "Prototypical Contrastive Learning of Unsupervised Representations", "2005.04966", "pcl"),
    "sup-con": Method("SupCon", "Supervised Contrastive Learning", "2004.11362", "supcon", labels=True),
}

DATA_SETS = {
    "cifar10": DataSet(
        "CIFAR-10", "uoft-cs/cifar10", "Its authors state no licence and ask to be cited (Krizhevsky, 2009)."
    ),
    "imagenet-1k": DataSet(
        "ImageNet-1k",
        "ILSVRC/imagenet-1k",
        "Its terms of access allow non-commercial research and education; the images remain their owners'.",
    ),
    "stl10": DataSet("STL-10", None, "Its images come from ImageNet, whose terms of access apply."),
    "digits": DataSet("UCI handwritten digits (scikit-learn)", None, "The data set is under CC BY 4.0."),
    "fsdd": DataSet("Free Spoken Digits", None, "The recordings are under CC BY-SA 4.0 (Jackson et al., 2018)."),
    "librispeech": DataSet("LibriSpeech", "openslr/librispeech_asr", "The corpus is under CC BY 4.0."),
}

TASKS = {"knn": "kNN", "linear": "linear probe", "low-label": "few labels"}


def method_of(text: str) -> Method | None:
    """The method of a key or a title: `moco_v2`, `MoCo v2` and `mocov2` alike; None if it is not known."""
    return _METHODS.get(_compact(text))


def method_title(text: str) -> str:
    """The title of the method."""
    known = method_of(text)
    return known.title if known else text


def learned_from_labels(text: str) -> bool:
    """Whether the method needs labels."""
    known = method_of(text)
    return known is not None and known.labels


def same_method(text: str, wanted: str) -> bool:
    """Whether `wanted` names the method, or its whole family (`moco` is MoCo v1, v2 and v3)."""
    known = method_of(text)
    names = (text, known.title, known.family) if known else (text,)
    return _compact(wanted) in map(_compact, names)


def data_set_of(text: str) -> DataSet | None:
    """The data set of a key or a title; None if it is not known."""
    return _DATA_SETS.get(_compact(text))


def data_title(text: str) -> str:
    """The title of the data set."""
    known = data_set_of(text)
    return known.title if known else text


def data_key(text: str) -> str:
    """The key of a known data set, as the Hub's metadata wants it: one spelling for "CIFAR-10" and "cifar10"."""
    known = data_set_of(text)
    if known is not None:
        return next(key for key, data in DATA_SETS.items() if data is known)
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _compact(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


_METHODS = {
    **{_compact(method.title): method for method in METHODS.values()},
    **{_compact(key): method for key, method in METHODS.items()},
}
_DATA_SETS = {
    **{_compact(data.title): data for data in DATA_SETS.values()},
    **{_compact(key): data for key, data in DATA_SETS.items()},
}

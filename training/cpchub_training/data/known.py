"""Data sets known by name: the digits of scikit-learn and CIFAR-10."""

from __future__ import annotations

import codecs
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cpchub.errors import SourceError
from cpchub_training.data.images import Images
from cpchub_training.recipes.places import cifar10_folder

CIFAR10_MD5 = {  # of the official files, from torchvision
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def digits(split: str = "train") -> Images:
    """scikit-learn's handwritten digits (UCI optdigits test set): 8x8 grey images, 1,437 train and 360 test."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    images = torch.from_numpy(np.rint(data.images * (255 / 16)).astype(np.uint8))[:, None].repeat(1, 3, 1, 1)
    labels = torch.from_numpy(data.target.astype(np.int64))
    part = slice(0, 1437) if split == "train" else slice(1437, None)
    return Images("digits", images[part], labels[part], tuple("0123456789"))


def cifar10(root: Path, split: str = "train") -> Images:
    """CIFAR-10 (Krizhevsky 2009) from the official `cifar-10-batches-py` files under `root`, checked by md5."""
    images, labels = [], []
    for name in [n for n in CIFAR10_MD5 if (n == "test_batch") == (split == "test")]:
        path = cifar10_folder(root, name) / name
        blob = path.read_bytes()
        if (seen := hashlib.md5(blob).hexdigest()) != CIFAR10_MD5[name]:
            raise SourceError(
                f"{path} is not the official file (md5 {seen}, expected {CIFAR10_MD5[name]}): fetch it again"
            )
        batch = _ArraysOnly(io.BytesIO(blob), encoding="bytes").load()
        images.append(batch[b"data"].reshape(-1, 3, 32, 32))
        labels.append(np.asarray(batch[b"labels"], dtype=np.int64))
    return Images(
        "cifar10", torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels)), CIFAR10_CLASSES
    )


class _ArraysOnly(pickle.Unpickler):
    """Reads CIFAR-10's batch files, which are Python 2 pickles of numpy arrays. It cannot build any other object."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes at protocol 2
            return codecs.encode
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise SourceError(f"a CIFAR-10 file asks for {module}.{name}, which no official file does")

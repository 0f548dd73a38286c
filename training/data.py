"""Pictures for training: a whole data set as one uint8 tensor, so that a batch is an index.

`load("digits")` is scikit-learn's 1,797 handwritten digits, `load("cifar10")` reads the official files,
`load("/folder/of/pictures")` decodes a folder once to squares of one size.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import os
import pickle
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cpchub.errors import RecipeError, SourceError
from cpchub.files import expanded
from cpchub.images.rules import NO_RULES, Rules
from training.listing import Listed, listed, squares
from training.views import beside

if TYPE_CHECKING:
    from training.batches import Batch
    from training.recipes import Recipe

CIFAR10_MD5 = {  # the official files, as torchvision checks them
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
HAVE_TEST_PART = ("cifar10", "digits")  # the data sets that are known by name
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Source(Protocol):
    """What the loop needs of a data set, in memory or not."""

    @property
    def labels(self) -> Tensor | None:
        """int64 `[N]` on the CPU, or None."""

    def __len__(self) -> int: ...

    def digest(self) -> str:
        """A short hash that says whether two runs saw the same data."""

    def take(self, rows: Tensor) -> Tensor:
        """The pictures at `rows` as they are, without randomness: uint8 `[N, C, H, W]` on the CPU."""

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Each batch with its `recipe.n_views` random views, normalised `[N, C, S, S]` float32 on `device`.

        The views are a function of the batch's rows and seed alone.
        """


@dataclass(frozen=True)
class Pictures:
    """A data set in memory: `images` uint8 `[N, C, H, W]`, `labels` int64 `[N]` or None, and where they came from."""

    name: str
    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()  # path and reason of the pictures that could not be read
    _copies: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.images)

    def class_of_each(self) -> np.ndarray:
        """The labels as int64 `[N]`; `SourceError` if there are none."""
        if self.labels is None:
            raise SourceError(f"{self.name} has no labels; put its pictures in one sub-folder a class")
        return self.labels.numpy()

    def subset(self, rows: np.ndarray) -> Pictures:
        """The pictures at `rows`, in that order."""
        keep = torch.from_numpy(rows)
        return replace(self, images=self.images[keep], labels=None if self.labels is None else self.labels[keep])

    def without_labels(self) -> Pictures:
        """The same pictures as if nobody knew what they show."""
        return replace(self, labels=None)

    def take(self, rows: Tensor) -> Tensor:
        """The pictures at `rows`, uint8 `[N, C, H, W]`."""
        return self.images[rows]

    def views(
        self, batches: Iterable[Batch], recipe: Recipe, device: torch.device
    ) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Each batch with its random views, made on `device`, where the whole data set goes if there is room."""
        images = self._at(device)
        generator = torch.Generator(device=device)
        for batch in batches:
            generator.manual_seed(batch.seed)
            pictures = images[sent(batch.rows, images.device)]
            if images.device != device:
                pictures = sent(pictures, device)
            yield batch, [random_view(pictures, recipe, generator, i) for i in range(recipe.n_views)]

    def _at(self, device: torch.device) -> Tensor:
        """The images on `device`, copied there once; where they would take more than a quarter of it, as they are."""
        if device.type == "cuda" and self.images.nbytes > torch.cuda.get_device_properties(device).total_memory / 4:
            return self.images
        if device not in self._copies:
            self._copies[device] = self.images.to(device)
        return self._copies[device]

    def digest(self) -> str:
        """Short sha256 over the pixels and labels, which says whether two runs saw the same data."""
        h = hashlib.sha256(self.images.numpy().tobytes())
        if self.labels is not None:
            h.update(self.labels.numpy().tobytes())
        return h.hexdigest()[:16]


def random_view(pictures: Tensor, recipe: Recipe, generator: torch.Generator, number: int = 0) -> Tensor:
    """View `number` of each picture, random, as the network takes it: uint8 `[N, C, H, W]` to float32 `[N, C, S, S]`.

    For CPC the grid of its patches, each a view by itself: `[N, rows, columns, C, p, p]`.
    """
    view = recipe.views_of(number)(pictures, generator)
    if recipe.takes == "patches":
        size, stride = (int(recipe.backbone_args.get(name, 0)) for name in ("patch_size", "patch_stride"))
        view = recipe.cpc.patches(view, size, stride, generator)
    return normalised(view, recipe)


def normalised(x: Tensor, recipe: Recipe) -> Tensor:
    """Pictures in [0, 1] as the network takes them: the recipe's mean and std, channels last."""
    if {*recipe.mean} == {0.0} and {*recipe.std} == {1.0}:  # of any number of channels
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
    mean, std = (beside(x, v).reshape(1, -1, 1, 1) for v in (recipe.mean, recipe.std))
    y = (x - mean) / std
    return y.contiguous(memory_format=torch.channels_last) if y.ndim == 4 else y  # patches are laid out already


def sent(x: Tensor, device: torch.device) -> Tensor:
    """To the device. A GPU fetches it from pinned memory while it works: a plain copy would wait until it is idle."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def load(name: str, *, split: str = "train", size: int = 32, rules: Rules = NO_RULES) -> Pictures:
    """The data set `name`: "digits", "cifar10" (in the folder `CPCHUB_DATA`), or pictures in a folder, tar shards, ...

    `split` is "train" or "test"; digits keep the last 360 pictures for the test, a folder is all "train".
    `size` is the side in pixels that pictures of a folder are stored at, `rules` what is left out of it. Raises
    `SourceError` with the way out.
    """
    if name == "digits":
        return digits(split)
    if name == "cifar10":
        return cifar10(Path(os.environ.get("CPCHUB_DATA", "data")), split)
    if not name:
        raise SourceError("this recipe is for pictures of your own: name their folder with --data")
    if split != "train":
        raise RecipeError(f"{name} has no {split} part")
    if names_modalities(name):
        from training.modalities import aligned

        return aligned(name, size, rules)
    return in_memory(own_pictures(name, rules), title(name), size)


def names_modalities(name: str) -> bool:
    """Whether `name` is that of aligned folders, `rgb=FOLDER,depth=FOLDER`, and not a path with a = in it."""
    return re.match(r"[^/:,=]*=", name) is not None and not expanded(name).exists()


def own_pictures(name: str, rules: Rules = NO_RULES) -> Listed:
    """Pictures that are no data set known by name. Raises `SourceError` where there are none."""
    if "://" not in name and not expanded(name).exists():
        raise SourceError(
            f"no data set called {name!r}: use 'digits', 'cifar10' or pictures of your own, in a folder, tar shards, "
            "Parquet, or a list of them"
        )
    return listed(name, rules)


def title(name: str) -> str:
    """What a source of pictures is called on cards: the last part of its path."""
    return name.rstrip("/").rpartition("/")[2]


def digits(split: str = "train") -> Pictures:
    """scikit-learn's handwritten digits (UCI optdigits test set): 8x8 grey pictures, 1,437 train and 360 test."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    images = torch.from_numpy(np.rint(data.images * (255 / 16)).astype(np.uint8))[:, None].repeat(1, 3, 1, 1)
    labels = torch.from_numpy(data.target.astype(np.int64))
    part = slice(0, 1437) if split == "train" else slice(1437, None)
    return Pictures("digits", images[part], labels[part], tuple("0123456789"))


def cifar10(root: Path, split: str = "train") -> Pictures:
    """CIFAR-10 (Krizhevsky 2009) from the official `cifar-10-batches-py` files under `root`, checked by md5."""
    base = root / "cifar-10-batches-py" if (root / "cifar-10-batches-py").is_dir() else root
    images, labels = [], []
    for name in [n for n in CIFAR10_MD5 if (n == "test_batch") == (split == "test")]:
        path = base / name
        if not path.is_file():
            raise SourceError(
                f"CIFAR-10 is not in {root} ({name} is missing): unpack cifar-10-python.tar.gz there, "
                "or set CPCHUB_DATA to the folder it is in"
            )
        blob = path.read_bytes()
        if (seen := hashlib.md5(blob).hexdigest()) != CIFAR10_MD5[name]:
            raise SourceError(
                f"{path} is not the official file (md5 {seen}, expected {CIFAR10_MD5[name]}): fetch it again"
            )
        batch = _ArraysOnly(io.BytesIO(blob), encoding="bytes").load()
        images.append(batch[b"data"].reshape(-1, 3, 32, 32))
        labels.append(np.asarray(batch[b"labels"], dtype=np.int64))
    return Pictures(
        "cifar10", torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels)), CIFAR10_CLASSES
    )


def in_memory(pictures: Listed, name: str, size: int) -> Pictures:
    """Every readable picture of a source, as squares of `size` pixels. Broken ones are listed in `skipped`."""
    images, skipped = squares(pictures, size)
    good = [i for i in range(len(pictures)) if i not in skipped]
    listed = tuple((pictures.pictures[i].path, skipped[i]) for i in sorted(skipped))
    if not good:
        raise SourceError(f"none of the {len(pictures)} pictures in {name} can be read, first: {skipped[0]}")
    labels = None if pictures.labels is None else pictures.labels[good]
    return Pictures(name, images[good], labels, pictures.classes, listed)


class _ArraysOnly(pickle.Unpickler):
    """Reads CIFAR-10's batch files, which are Python 2 pickles of one numpy array, and can build nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes at protocol 2
            return codecs.encode
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise SourceError(f"a CIFAR-10 file asks for {module}.{name}, which no official file does")

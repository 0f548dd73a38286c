"""`Recipe`: every setting that influences the result of a training run, as typed values, with their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cpchub.common.words import bytes_of
from cpchub.errors import ArgumentError, RecipeError
from cpchub.media.rules import Rules
from cpchub_training.recipes.cpc_settings import AudioSettings, CPCSettings
from cpchub_training.recipes.method_settings import BankSettings, CMCSettings, MoCoSettings, SemiSupervisedSettings
from cpchub_training.views.settings import PatchViews, Views

# Until 0.1, settings of one method were fields of the recipe itself. This maps them to their groups.
_MOVED = {
    "queue_size": ("moco", "queue_size"),
    "key_momentum": ("moco", "key_momentum"),
    "symmetric": ("moco", "symmetric"),
    "bn_splits": ("moco", "bn_splits"),
    "bank_negatives": ("bank", "negatives"),
    "bank_momentum": ("bank", "momentum"),
    "bank_start": ("bank", "start"),
    "proximal": ("bank", "proximal"),
    "negatives": ("cmc", "negatives"),
    "graph": ("cmc", "graph"),
    "label_fraction": ("semi", "label_fraction"),
    "labelled_share": ("semi", "labelled_share"),
    "unlabelled_weight": ("semi", "unlabelled_weight"),
    "certainty": ("semi", "certainty"),
    "adversarial_length": ("semi", "adversarial_length"),
    "entropy_weight": ("semi", "entropy_weight"),
}


@dataclass(frozen=True)
class Recipe:
    """One training run. Sizes are pixels, `batch_size` counts images over all ranks, `lr` is for that batch size."""

    name: str
    method: str = "simclr"
    # encoder
    backbone: str = "resnet18_cifar"  # a timm architecture
    backbone_args: Mapping[str, Any] = field(default_factory=dict)  # its arguments
    init_from: str = ""  # a published encoder (name, folder, Hub id) of the same architecture to go on from
    projector_hidden: int = 512
    projector_dim: int = 128
    projector_layers: Literal[2, 3] = 2  # SimCLR: 2 is version 1, 3 is version 2
    decoupled: bool = False  # SimCLR: the positive is no negative (DCL), which suits small batches
    colour_weight: float = 0.0  # SimCLR: of a term that asks the features for each view's own colours
    teacher: str = ""  # run folder: the pretraining to fine-tune, or the fine-tuned classifier to distil
    head_layers: int = 1  # of the pretraining's projection head that fine-tuning keeps
    # data and views
    data: str = "cifar10"  # cifar10, digits, or images: a folder, tar shards, Parquet, a list, s3://...
    exclude: tuple[str, ...] = ()  # files and folders of it to leave out, by name or path; * and ? stand for anything
    include_system: bool = False  # take in folders of a NAS or an operating system: @eaDir, #recycle, __MACOSX
    follow_links: bool = False  # follow links that lead out of it
    limit: int = 0  # train on so many of the images, drawn at random and the same for every seed; 0: on all
    stored_size: int = 32  # images of your own become squares of this side, of which views show parts
    stream: Literal["auto", "always", "never"] = "auto"  # decode while training; auto: if memory is too small for all
    image_cache: str = "auto"  # for smaller copies of large images, on disk: auto (a quarter of what is free), 20GB
    views_on: Literal["device", "cpu"] = "device"  # cpu: from the full images, one by one, as official code does
    views: Views = field(default_factory=Views)
    early_sizes: tuple[tuple[float, int], ...] = ()  # until this share of the run, views of this side: less work
    n_views: int = 2
    plain_views: int = 0  # so many of them, the last, keep the image's colours: no jitter, no grey
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, float, float] = (0.2470, 0.2435, 0.2616)
    input_size: int = 32  # what the finished encoder takes; may be larger than the views (arXiv 1906.06423)
    # optimisation
    epochs: int = 200  # passes over the data
    batch_size: int = 512  # images, or recordings, a step, of all GPUs together
    optimizer: Literal["sgd", "adam", "adamw", "lars"] = "sgd"  # what turns gradients into steps
    lr: float = 0.06  # learning rate, for this batch size
    momentum: float = 0.9  # beta1 of Adam
    nesterov: bool = True  # SGD
    beta2: float = 0.999  # Adam
    lars_convention: Literal["google", "torch"] = "google"
    weight_decay: float = 5e-4
    decay_all: bool = False  # also norms and biases
    clip_norm: float = 0.0  # longest gradient; 0 is any
    ema_decay: float = 0.0  # of the average of weights that is exported; 0 exports the last weights
    accumulate: int = 1  # parts of a batch that go through the network one after the other, each with its own negatives
    drop_last: bool = True  # leave the smaller last batch of an epoch out
    warmup_epochs: float = 10
    schedule: Literal["cosine", "trapezoid", "steps", "constant"] = "cosine"
    cooldown: float = 0.3  # trapezoid: the share of the run over which the rate falls to zero
    steps: tuple[tuple[float, float], ...] = ((0.6, 0.1), (0.8, 0.01))  # steps: from this share of the run, this of lr
    temperature: float = 0.5
    # what belongs to one method or to a few
    moco: MoCoSettings = field(default_factory=MoCoSettings)
    bank: BankSettings = field(default_factory=BankSettings)  # InstDisc and CMC
    cmc: CMCSettings = field(default_factory=CMCSettings)
    semi: SemiSupervisedSettings = field(default_factory=SemiSupervisedSettings)
    cpc: CPCSettings = field(default_factory=CPCSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)
    # how it runs
    precision: Literal["fp32", "bf16"] = "fp32"  # a CPU that would emulate bf16 computes in fp32
    compile: bool = False
    fsdp: bool = False  # each of several ranks keeps its part of weights and optimizer state only (FSDP2)
    seed: int = 0
    knn_every: int = 10  # epochs between two looks at kNN accuracy; 0 never
    checkpoint_minutes: float = 5

    @property
    def rules(self) -> Rules:
        """The rules that select files from a user's own images."""
        return Rules(self.exclude, self.include_system, self.follow_links)

    @property
    def takes(self) -> Literal["images", "patches", "sound"]:
        """What the method's views are: images, grids of patches (CPC on images), or windows of sound."""
        if self.method in ("cpc_v1", "cpc_v2"):
            return "patches"
        return "sound" if self.method == "cpc_audio" else "images"

    @property
    def unit(self) -> str:
        """What its data consists of, in the singular."""
        return "recording" if self.takes == "sound" else "image"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def views_of(self, number: int, done: float = 1.0) -> Views:
        """How view `number` of an image is drawn, from 0 up to `n_views`, when a share `done` of the run is over."""
        size = next((size for until, size in self.early_sizes if done < until), self.views.size)
        views = self.views if size == self.views.size else replace(self.views, size=size)
        coloured = number < self.n_views - self.plain_views
        return views if coloured else replace(views, jitter_p=0.0, grey_p=0.0)

    @property
    def largest_views(self) -> Views:
        """The distribution of the views when they are at their largest."""
        return replace(self.views, size=max([self.views.size, *(size for _, size in self.early_sizes)]))

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` (or its JSON) describes, of this version or an older one.

        Raises `RecipeError` that names the fields which no version knows.
        """
        values = _in_groups(values)
        if unknown := sorted(set(values) - set(Recipe.__dataclass_fields__)):
            raise RecipeError(f"a recipe has no field {', '.join(unknown)}; it was written by another version")
        fields: dict[str, Any] = {k: _tupled(v) for k, v in values.items()}
        for name, kind in _GROUPS.items():
            if name in values:
                group: dict[str, Any] = {k: _tupled(v) for k, v in values[name].items()}
                if "patches" in group:
                    group["patches"] = PatchViews(**group["patches"])
                fields[name] = kind(**group)
        return Recipe(**fields)

    def check(self, n_images: int, world_size: int = 1) -> None:
        """Raise `RecipeError` for values that cannot work, before anything is computed.

        Values that depend on the method are checked by its entry in the registry of methods.
        """
        problems = {
            "limit": self.limit == 0 or (self.limit > 0 and self.takes != "sound"),
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 2 * world_size and self.batch_size % world_size == 0,
            "accumulate": self.accumulate >= 1
            and self.batch_size % (self.accumulate * world_size) == 0
            and self.batch_size >= 2 * self.accumulate * world_size,
            "clip_norm": self.clip_norm >= 0,
            "ema_decay": 0 <= self.ema_decay < 1,
            "beta2": 0 <= self.beta2 < 1,
            "projector_hidden": self.projector_hidden >= 1,
            "projector_dim": self.projector_dim >= 1,
            "lr": self.lr > 0,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": self.weight_decay >= 0,
            "warmup_epochs": self.warmup_epochs >= 0,
            "temperature": self.temperature > 0,
            "colour_weight": self.colour_weight >= 0 and (not self.colour_weight or self.method == "simclr"),
            "plain_views": 0 <= self.plain_views <= self.n_views,
            "early_sizes": self._early_sizes_can_work(),
            "std": min(self.std) > 0,
            "cooldown": 0 < self.cooldown <= 1,
            "steps": list(self.steps) == sorted(self.steps),
            "head_layers": self.head_layers >= 0,
        }
        words = {name: get_args(hint) for name, hint in get_type_hints(Recipe).items() if get_origin(hint) is Literal}
        problems |= {name: getattr(self, name) in allowed for name, allowed in words.items()}
        if world_size > 1 and self.accumulate >= 1:
            self._check_shares(world_size)
        for name, fine in problems.items():
            if not fine:
                flag = f"--{name.replace('_', '-')}"
                raise RecipeError(
                    f"{name}={getattr(self, name)!r} cannot work with {world_size} rank(s); change {flag}"
                )
        self._check_image_cache()
        if self.views_on == "cpu":
            if self.takes != "images":
                raise RecipeError(f"views_on='cpu' is not for {self.method}, whose views are made on the device")
            self.views.check_per_image()
        if self.takes == "patches":
            self.cpc.groups(self.batch_size // (world_size * self.accumulate))
        if self.takes == "sound" and self.knn_every:
            raise RecipeError(f"knn_every={self.knn_every} looks at images, {self.method} has none; use --knn-every 0")
        for settings in (self.moco, self.bank, self.cmc, self.semi, self.cpc, self.audio):
            settings.check()
        if self.decoupled and (self.method != "simclr" or self.n_views != 2):
            raise RecipeError(
                f"decoupled is for simclr with two views, not for {self.method} with {self.n_views}; use --no-decoupled"
            )
        if self.batch_size > n_images:
            parts = self.accumulate * world_size
            most = n_images // 2 // parts * parts
            way_out = f"use --batch-size {most} or less" if most >= 2 * parts else f"give more {self.unit}s"
            raise RecipeError(f"batch_size={self.batch_size} is more than the {n_images} {self.unit}s; {way_out}")

    def _check_image_cache(self) -> None:
        if self.image_cache == "auto":
            return
        try:
            bytes_of(self.image_cache)
        except ArgumentError as error:
            raise RecipeError(
                f"image_cache={self.image_cache!r}: use auto, 0 for none, or a size such as 20GB"
            ) from error

    def _early_sizes_can_work(self) -> bool:
        shares = [until for until, _ in self.early_sizes]
        rising = shares == sorted(set(shares)) and all(0 < share <= 1 for share in shares)
        return rising and all(size >= 1 for _, size in self.early_sizes) and (not shares or self.takes == "images")

    def _check_shares(self, world_size: int) -> None:
        """Raise `RecipeError` where a batch does not fall into equal shares of several ranks; it names what fits."""

        def fits(batch: int, n: int) -> bool:
            images, left = divmod(batch, n * self.accumulate)
            return not left and images >= 2 and images % group == 0

        group = max(1, self.cpc.group) if self.takes == "patches" else 1
        if fits(self.batch_size, world_size):
            return
        step = world_size * self.accumulate * group
        nearest = self.batch_size // step * step
        sizes = [size for size in range(nearest, nearest + 4 * step, step) if fits(size, world_size)][:2]
        fewer = [str(n) for n in range(1, world_size) if fits(self.batch_size, n)]
        parts = f", each in {self.accumulate} parts" if self.accumulate > 1 else ""
        groups = f", in groups of {group}" if group > 1 else ""
        start = f"; or start {', '.join(fewer)} rank(s)" if fewer else ""
        raise RecipeError(
            f"batch_size={self.batch_size} does not fall into equal shares of {world_size} ranks{parts}{groups}, of "
            f"two images or more; use --batch-size {' or '.join(map(str, sizes))}{start}"
        )


_GROUPS: dict[str, type] = {
    "views": Views,
    "moco": MoCoSettings,
    "bank": BankSettings,
    "cmc": CMCSettings,
    "semi": SemiSupervisedSettings,
    "cpc": CPCSettings,
    "audio": AudioSettings,
}


def _in_groups(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with fields of an older version moved into their groups."""
    new = {name: value for name, value in values.items() if name not in _MOVED}
    for name in _MOVED.keys() & values.keys():
        group, field_name = _MOVED[name]
        new[group] = {**new.get(group, {}), field_name: values[name]}
    return new


def _tupled(value: Any) -> Any:
    """JSON has no tuples."""
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value

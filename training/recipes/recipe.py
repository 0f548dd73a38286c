"""`Recipe`: everything that decides what a training run produces, as typed values, and what cannot work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from cpchub.errors import RecipeError
from cpchub.images.rules import Rules
from training import picture_views
from training.cpc_settings import AudioSettings, CPCSettings
from training.patch_views import PatchViews
from training.views import Views

_JSON = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="JSON",
    instance_from_str=lambda args: json.loads(args[0]),
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda value: [json.dumps(value)],
)


MethodName = Literal[
    "simclr", "moco_v1", "moco_v2", "instdisc", "inva_spread", "cmc", "sup_con", "cpc_v1", "cpc_v2", "cpc_audio",
    "fine_tune", "distil", "rotation", "exemplar", "relative_position", "pseudo_label", "entropy_minimization", "vat",
    "uda",
]  # fmt: skip
SEMI_SUPERVISED = ("pseudo_label", "entropy_minimization", "vat", "uda")
SUPERVISED = ("sup_con", "fine_tune", *SEMI_SUPERVISED)
_ON_PATCHES = ("cpc_v1", "cpc_v2")
_ONE_VIEW = ("instdisc", "cmc", "cpc_audio", "fine_tune", "distil", "relative_position", *_ON_PATCHES)
_TWO_VIEWS = ("moco_v1", "moco_v2", "inva_spread", "uda")
_VIEWS_OF: dict[str, Sequence[int]] = {  # the others take two or more
    **dict.fromkeys((*_ONE_VIEW, "pseudo_label", "entropy_minimization", "vat"), (1,)),
    **dict.fromkeys(_TWO_VIEWS, (2,)),
    **dict.fromkeys(("rotation", "exemplar"), range(1, 101)),
}


@dataclass(frozen=True)
class Recipe:
    """One training run. Sizes are pixels, `batch_size` counts pictures over all ranks, `lr` is for that batch size."""

    name: str
    method: MethodName = "simclr"
    # encoder
    backbone: str = "resnet18_cifar"  # a timm architecture
    backbone_args: Annotated[Mapping[str, Any], _JSON] = field(default_factory=dict)  # its arguments
    init_from: str = ""  # a published encoder (name, folder, Hub id) of the same architecture to go on from
    projector_hidden: int = 512
    projector_dim: int = 128
    projector_layers: Literal[2, 3] = 2  # SimCLR: 2 is version 1, 3 is version 2
    decoupled: bool = False  # SimCLR: the positive is no negative (DCL), which suits small batches
    # data and views
    data: str = "cifar10"  # cifar10, digits, or pictures: a folder, tar shards, Parquet, a list, s3://...
    exclude: tuple[str, ...] = ()  # files and folders of it to leave out, by name or path; * and ? stand for anything
    include_system: bool = False  # take in folders of a NAS or an operating system: @eaDir, #recycle, __MACOSX
    follow_links: bool = False  # follow links that lead out of it
    stored_size: int = 32  # pictures of your own become squares of this side, of which views show parts
    stream: Literal["auto", "always", "never"] = "auto"  # decode while training; auto: if memory is too small for all
    views_on: Literal["device", "cpu"] = "device"  # cpu: from the full pictures, one by one, as official code does
    views: Views = field(default_factory=Views)
    n_views: int = 2
    plain_views: int = 0  # so many of them, the last, keep the picture's colours: no jitter, no grey
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, float, float] = (0.2470, 0.2435, 0.2616)
    input_size: int = 32  # what the finished encoder takes; may be larger than the views (arXiv 1906.06423)
    # optimisation
    epochs: int = 200  # passes over the pictures
    batch_size: int = 512  # pictures a step, of all GPUs together
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
    # MoCo
    queue_size: int = 4096
    key_momentum: float = 0.99
    symmetric: bool = False
    bn_splits: int = 8
    # InstDisc and CMC
    bank_negatives: int = 0  # m of noise-contrastive estimation; 0 is the softmax over the whole bank
    bank_momentum: float = 0.5
    bank_start: Literal["random", "visited"] = "random"  # visited: only pictures seen so far are negatives
    proximal: float = 0.0  # InstDisc: lambda of the proximal term
    negatives: Literal["bank", "batch"] = "bank"  # CMC: what a view is told from
    graph: Literal["core", "full"] = "full"  # CMC with three views or more: which pairs are contrasted
    # semi-supervised learning
    label_fraction: float = 1.0  # of the labels of each class, drawn by the seed; the others are not looked at
    labelled_share: float = 0.25  # of a batch that has labels
    unlabelled_weight: float = 1.0  # of the term of pictures without labels
    certainty: float = 0.95  # pseudo_label and uda: how probable a guess must be to count
    adversarial_length: float = 6.0  # vat: of the perturbation
    entropy_weight: float = 0.0  # vat: of entropy minimisation beside it
    # SimCLR v2: fine-tuning and distillation
    teacher: str = ""  # run folder: the pretraining to fine-tune, or the fine-tuned classifier to distil
    head_layers: int = 1  # of the pretraining's projection head that fine-tuning keeps
    # CPC, on patches of pictures and on sound
    cpc: CPCSettings = field(default_factory=CPCSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)
    # how it runs
    precision: Literal["fp32", "bf16"] = "fp32"  # a CPU that would emulate bf16 computes in fp32
    compile: bool = False
    seed: int = 0
    knn_every: int = 10  # epochs between two looks at kNN accuracy; 0 never
    checkpoint_minutes: float = 5

    @property
    def rules(self) -> Rules:
        """What is taken of the pictures of one's own."""
        return Rules(self.exclude, self.include_system, self.follow_links)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def views_of(self, number: int) -> Views:
        """How view `number` of a picture is drawn, from 0 up to `n_views`."""
        coloured = number < self.n_views - self.plain_views
        return self.views if coloured else replace(self.views, jitter_p=0.0, grey_p=0.0)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` (or its JSON) describes; unknown fields are refused by name."""
        known = Recipe.__dataclass_fields__
        if unknown := sorted(set(values) - set(known)):
            raise RecipeError(f"a recipe has no field {', '.join(unknown)}; it was written by another version")
        fields: dict[str, Any] = {k: _tupled(v) for k, v in values.items()}
        for name, kind in (("views", Views), ("cpc", CPCSettings), ("audio", AudioSettings)):
            if name in values:
                nested: dict[str, Any] = {k: _tupled(v) for k, v in values[name].items()}
                if "patches" in nested:
                    nested["patches"] = PatchViews(**nested["patches"])
                fields[name] = kind(**nested)
        return Recipe(**fields)

    def check(self, n_pictures: int, world_size: int = 1, labelled: bool = True) -> None:
        """Raise `RecipeError` for values that cannot work, before anything is computed."""
        problems = {
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
            "bn_splits": self.bn_splits >= 1,
            "temperature": self.temperature > 0,
            "n_views": self.n_views in _VIEWS_OF.get(self.method, range(2, 101)),
            "plain_views": 0 <= self.plain_views <= self.n_views,
            "queue_size": self.queue_size >= 1,
            "key_momentum": 0 <= self.key_momentum <= 1,
            "std": min(self.std) > 0,
            "cooldown": 0 < self.cooldown <= 1,
            "steps": list(self.steps) == sorted(self.steps),
            "label_fraction": 0 < self.label_fraction <= 1,
            "labelled_share": 0 < self.labelled_share < 1,
            "unlabelled_weight": self.unlabelled_weight >= 0,
            "certainty": 0 <= self.certainty <= 1,
            "adversarial_length": self.adversarial_length > 0,
            "head_layers": self.head_layers >= 0,
            "bank_negatives": self.bank_negatives >= 0,
            "bank_momentum": 0 <= self.bank_momentum < 1,
        }
        for name, hint in get_type_hints(Recipe).items():
            if get_origin(hint) is Literal:
                problems[name] = getattr(self, name) in get_args(hint)
        for name, fine in problems.items():
            if not fine:
                raise RecipeError(
                    f"{name}={getattr(self, name)!r} cannot work with {world_size} rank(s); change --{name}"
                )
        if self.views_on == "cpu":
            if self.method in (*_ON_PATCHES, "cpc_audio"):
                raise RecipeError(f"views_on='cpu' is not for {self.method}, whose views are made on the device")
            picture_views.check(self.views)
        if self.method in _ON_PATCHES:
            self.cpc.check()
            self.cpc.groups(self.batch_size // (world_size * self.accumulate))
        if self.method == "cpc_audio":
            self.audio.check()
            if self.knn_every:
                raise RecipeError(
                    f"knn_every={self.knn_every} looks at pictures, cpc_audio has none; use --knn-every 0"
                )
        if self.decoupled and (self.method != "simclr" or self.n_views != 2):
            raise RecipeError(
                f"decoupled is for simclr with two views, not for {self.method} with {self.n_views}; use --no-decoupled"
            )
        if self.method in SUPERVISED and not labelled:
            raise RecipeError(f"method={self.method!r} needs labels, and the data has none; use --method simclr")
        if self.method in ("fine_tune", "distil") and not self.teacher:
            raise RecipeError(f"method={self.method!r} goes on from another run: name its folder with --teacher")
        if self.batch_size > n_pictures:
            raise RecipeError(
                f"batch_size={self.batch_size} is more than the {n_pictures} pictures; "
                f"use --batch-size {n_pictures // 2} or less"
            )


def _tupled(value: Any) -> Any:
    """JSON has no tuples."""
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value

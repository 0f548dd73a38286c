"""Recipes: everything that decides what a training run produces, as typed values.

A recipe is a function that returns a `Recipe`; a variant is a few lines that change another. The resolved recipe is
saved in the run folder and published with the weights. `cpchub train NAME --field value` overrides any field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from cpchub.errors import RecipeError, UnknownModelError
from training.views import Views

_JSON = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="JSON",
    instance_from_str=lambda args: json.loads(args[0]),
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda value: [json.dumps(value)],
)


MethodName = Literal["simclr", "moco_v2", "instdisc", "inva_spread", "cmc", "sup_con"]
_VIEWS_OF = {"moco_v2": (2,), "inva_spread": (2,), "instdisc": (1,), "cmc": (1,)}  # the others take two or more


@dataclass(frozen=True)
class Recipe:
    """One training run. Sizes are pixels, `batch_size` counts pictures over all ranks, `lr` is for that batch size."""

    name: str
    method: MethodName = "simclr"
    # encoder: a timm architecture and its arguments
    backbone: str = "resnet18_cifar"
    backbone_args: Annotated[Mapping[str, Any], _JSON] = field(default_factory=dict)
    projector_hidden: int = 512
    projector_dim: int = 128
    projector_layers: Literal[2, 3] = 2  # SimCLR: 2 is version 1, 3 is version 2
    # data and views
    data: str = "cifar10"  # or "digits", or a folder of pictures
    stored_size: int = 32  # pictures of a folder are kept as squares of this side
    views: Views = field(default_factory=Views)
    n_views: int = 2
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, float, float] = (0.2470, 0.2435, 0.2616)
    input_size: int = 32  # what the finished encoder takes; may be larger than the views (arXiv 1906.06423)
    # optimisation
    epochs: int = 200
    batch_size: int = 512
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.06
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 10
    schedule: Literal["cosine", "trapezoid", "steps"] = "cosine"
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
    proximal: float = 0.0  # InstDisc: lambda of the proximal term
    graph: Literal["core", "full"] = "full"  # CMC with three views or more: which pairs are contrasted
    # how it runs
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    seed: int = 0
    knn_every: int = 10  # epochs between two looks at kNN accuracy; 0 never
    checkpoint_minutes: float = 5

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` (or its JSON) describes; unknown fields are refused by name."""
        known = Recipe.__dataclass_fields__
        if unknown := sorted(set(values) - set(known)):
            raise RecipeError(f"a recipe has no field {', '.join(unknown)}; it was written by another version")
        fields: dict[str, Any] = {k: _tupled(v) for k, v in values.items()}
        views: dict[str, Any] = {k: _tupled(v) for k, v in values["views"].items()}
        return Recipe(**(fields | {"views": Views(**views)}))

    def check(self, n_pictures: int, world_size: int = 1, labelled: bool = True) -> None:
        """Raise `RecipeError` for values that cannot work, before anything is computed."""
        problems = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 2 * world_size and self.batch_size % world_size == 0,
            "projector_hidden": self.projector_hidden >= 1,
            "projector_dim": self.projector_dim >= 1,
            "lr": self.lr > 0,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": self.weight_decay >= 0,
            "warmup_epochs": self.warmup_epochs >= 0,
            "bn_splits": self.bn_splits >= 1,
            "temperature": self.temperature > 0,
            "n_views": self.n_views in _VIEWS_OF.get(self.method, range(2, 101)),
            "queue_size": self.queue_size >= 1,
            "key_momentum": 0 <= self.key_momentum <= 1,
            "std": min(self.std) > 0,
            "cooldown": 0 < self.cooldown <= 1,
            "steps": list(self.steps) == sorted(self.steps),
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
        if self.method == "sup_con" and not labelled:
            raise RecipeError("method='sup_con' needs labels, and the data has none; use --method simclr")
        if self.batch_size > n_pictures:
            raise RecipeError(
                f"batch_size={self.batch_size} is more than the {n_pictures} pictures; "
                f"use --batch-size {n_pictures // 2} or less"
            )


def _tupled(value: Any) -> Any:
    """JSON has no tuples."""
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value


_REGISTRY: dict[str, Callable[[], Recipe]] = {}


def recipe(function: Callable[[], Recipe]) -> Callable[[], Recipe]:
    """Register a recipe under its function's name."""
    _REGISTRY[function.__name__] = function
    return function


def names() -> list[str]:
    return sorted(_REGISTRY)


def get(name: str) -> Recipe:
    """The recipe called `name` (hyphens and underscores alike); the error offers the names there are."""
    key = name.replace("-", "_")
    if key not in _REGISTRY:
        raise UnknownModelError(f"no recipe called {name!r}; there are: {', '.join(names())}")
    return _REGISTRY[key]()


@recipe
def simclr_resnet18_cifar10_200e() -> Recipe:
    """SimCLR on CIFAR-10 for one GPU: github.com/dkobak/simclr-cifar10's settings, grey p 0.1 as in W-MSE."""
    return Recipe("simclr_resnet18_cifar10_200e", views=Views(grey_p=0.1), precision="bf16", compile=True)


@recipe
def simclr_resnet18_cifar10_500e() -> Recipe:
    return replace(simclr_resnet18_cifar10_200e(), name="simclr_resnet18_cifar10_500e", epochs=500, lr=0.06)


@recipe
def moco_v2_resnet18_cifar10_200e() -> Recipe:
    """MoCo v2 on CIFAR-10 for one GPU: settings of the authors' colab demo (symmetric, split batch norm)."""
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="moco_v2_resnet18_cifar10_200e",
        method="moco_v2",
        views=Views(),
        temperature=0.1,
        symmetric=True,
        warmup_epochs=0,
    )


@recipe
def instdisc_resnet18_cifar10_200e() -> Recipe:
    """InstDisc on CIFAR-10: settings of the official code (full softmax, no flip, jitter always)."""
    return Recipe(
        "instdisc_resnet18_cifar10_200e",
        method="instdisc",
        views=Views(flip=0.0, hue=0.4, jitter_p=1.0),
        n_views=1,
        batch_size=128,
        lr=0.03,
        warmup_epochs=0,
        schedule="steps",
        temperature=0.1,
        precision="bf16",
        compile=True,
    )


@recipe
def inva_spread_resnet18_cifar10_200e() -> Recipe:
    """InvaSpread on CIFAR-10: settings of the official code, without its last 101 epochs, which run at lr / 100."""
    return replace(
        instdisc_resnet18_cifar10_200e(),
        name="inva_spread_resnet18_cifar10_200e",
        method="inva_spread",
        views=Views(hue=0.4, jitter_p=1.0),
        n_views=2,
        steps=((0.6, 0.1), (0.8, 0.05)),
    )


@recipe
def cmc_resnet18_cifar10_200e() -> Recipe:
    """CMC on CIFAR-10, L against ab: the optimiser, bank and softmax of InstDisc there, CMC's views (crop and flip).

    The authors give no settings for CIFAR; theirs for ImageNet are T 0.07 and 16,384 negatives.
    """
    return replace(
        instdisc_resnet18_cifar10_200e(),
        name="cmc_resnet18_cifar10_200e",
        method="cmc",
        backbone="colour_paths",
        backbone_args={"path": "resnet18_cifar", "space": "lab"},
        views=Views(jitter_p=0.0, grey_p=0.0),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


@recipe
def supcon_resnet18_cifar10_200e() -> Recipe:
    """SupCon on CIFAR-10: settings of the official code, whose loss is 0.1 / 0.07 times ours, hence lr 0.71 for 0.5."""
    return replace(
        simclr_resnet18_cifar10_200e(),
        name="supcon_resnet18_cifar10_200e",
        method="sup_con",
        views=Views(),
        batch_size=1024,
        lr=0.71,
        weight_decay=1e-4,
        temperature=0.1,
    )


@recipe
def simclr_resnet18_w32_cifar10_cpu() -> Recipe:
    """SimCLR on CIFAR-10 in some hours on two CPU cores, with a network that plain timm can build.

    Half-width ResNet-18 behind timm's own stem. Pictures are shown to it enlarged: views of 48 pixels in training, 64
    pixels afterwards, because random crops make things look larger in training (arXiv 1906.06423).
    The trapezoid allows the length to be chosen while it runs: nothing before the cooldown depends on it.
    """
    return Recipe(
        "simclr_resnet18_w32_cifar10_cpu",
        backbone="resnet18",
        backbone_args={"channels": [32, 64, 128, 256], "stem_type": "deep", "stem_width": 16},
        views=Views(size=48, grey_p=0.1),
        input_size=64,
        epochs=20,
        batch_size=256,
        lr=0.2,
        warmup_epochs=0.5,
        schedule="trapezoid",
        temperature=0.2,
        knn_every=1,
        checkpoint_minutes=3,
    )


@recipe
def simclr_digits() -> Recipe:
    """A minute on two CPU cores: scikit-learn's digits, a ten-layer ResNet with 128 features, views of handwriting.

    The temperature is high because so few pictures are soon told apart; flips and colours would change the digit.
    """
    return Recipe(
        "simclr_digits",
        backbone="resnet18",
        backbone_args={"layers": [1, 1, 1, 1], "channels": [32, 64, 128, 128], "stem_type": "deep", "stem_width": 16},
        data="digits",
        stored_size=8,
        views=Views(
            size=16,
            crop_scale=(0.7, 1.2),
            padding="zeros",
            flip=0.0,
            jitter_p=0.0,
            grey_p=0.0,
            gamma=0.5,
            rotation=15,
            shear=15,
            elastic=0.05,
        ),
        input_size=16,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        epochs=80,
        batch_size=128,
        optimizer="adamw",
        lr=2e-3,
        warmup_epochs=2,
        temperature=1.0,
        weight_decay=0.01,
    )


@recipe
def simclr_photos_quickstart() -> Recipe:
    """Two minutes on two CPU cores for a folder of photos: quarter-width ResNet-10, views of 48 pixels."""
    return Recipe(
        "simclr_photos_quickstart",
        backbone="resnet18",
        backbone_args={"layers": [1, 1, 1, 1], "channels": [32, 64, 96, 128], "stem_type": "deep", "stem_width": 16},
        data="",  # given with --data
        stored_size=64,
        views=Views(size=48, grey_p=0.1),
        input_size=64,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        epochs=30,
        batch_size=128,
        lr=0.2,
        warmup_epochs=1,
        temperature=0.2,
    )

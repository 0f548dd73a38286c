"""The methods, one file each: a module whose `forward` is the algorithm, in its paper's order and names.

`forward(views, indices, labels)` takes a list of views (`[N, C, H, W]` each, row i of all from picture i), which
pictures of the data set these are (`[N]`) and their classes (`[N]`, or None), of which a method uses what it needs.
It returns the loss and a few scalars worth watching. Its `backbone` is the encoder that is exported. All state (queue,
bank, key encoder) lives in parameters and buffers, so saving the module saves the method.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cpchub.architectures.colour_paths import ColourPaths
from cpchub.errors import RecipeError
from training.methods.cmc import CMC
from training.methods.cpc import CPC
from training.methods.cpc_audio import CPCAudio
from training.methods.cpc_v1 import CPCv1
from training.methods.distil import Distil
from training.methods.entropy_minimization import EntropyMinimization
from training.methods.exemplar import Exemplar
from training.methods.fine_tune import FineTune
from training.methods.instdisc import InstDisc
from training.methods.inva_spread import InvaSpread
from training.methods.moco import MoCo
from training.methods.pseudo_label import PseudoLabel
from training.methods.relative_position import RelativePosition
from training.methods.rotation import Rotation
from training.methods.semi_supervised import SemiSupervised
from training.methods.simclr import SimCLR
from training.methods.sup_con import SupCon
from training.methods.uda import UDA
from training.methods.vat import VAT

if TYPE_CHECKING:
    import torch.nn as nn

    from training.recipes import Recipe

Contrastive: TypeAlias = SimCLR | MoCo | InstDisc | InvaSpread | CMC | SupCon | CPC | CPCAudio
Pretext: TypeAlias = Rotation | Exemplar | RelativePosition
Method: TypeAlias = Contrastive | Pretext | SemiSupervised | FineTune | Distil


def build(recipe: Recipe, backbone: nn.Module, n_pictures: int, n_classes: int = 0) -> Method:
    """The method that `recipe.method` names, around `backbone` (a timm network without classifier).

    `n_pictures`: how many the data set has, which is the length of a memory bank; `n_classes`: of its labels, 0 for
    none. Raises `RecipeError` for a backbone that the method cannot use.
    """
    width = int(backbone.num_features)  # type: ignore[arg-type]
    hidden, dim, T = recipe.projector_hidden, recipe.projector_dim, recipe.temperature
    match recipe.method:
        case "simclr":
            return SimCLR(backbone, width, hidden, dim, T, recipe.projector_layers, recipe.n_views, recipe.decoupled)
        case "moco_v1" | "moco_v2":
            return MoCo(
                backbone,
                width,
                hidden,
                dim,
                T=T,
                K=recipe.queue_size,
                m=recipe.key_momentum ** (1 / recipe.accumulate),  # each part of a batch moves it; together by momentum
                symmetric=recipe.symmetric,
                bn_splits=recipe.bn_splits,
                linear_head=recipe.method == "moco_v1",
            )
        case "sup_con":
            return SupCon(backbone, width, hidden, dim, T, recipe.n_views)
        case "inva_spread":
            return InvaSpread(backbone, width, dim, T)
        case "instdisc":
            return InstDisc(
                backbone,
                width,
                dim,
                n_pictures,
                temperature=T,
                m=recipe.bank_negatives,
                momentum=recipe.bank_momentum,
                proximal=recipe.proximal,
                start=recipe.bank_start,
            )
        case "cmc":
            if not isinstance(backbone, ColourPaths) or {*recipe.mean} != {0.0} or {*recipe.std} != {1.0}:
                raise RecipeError(
                    f"cmc splits RGB in [0, 1] into views: it needs backbone='colour_paths' (not {recipe.backbone!r}), "
                    f"mean 0 0 0 and std 1 1 1 (not {recipe.mean} and {recipe.std})"
                )
            return CMC(
                backbone,
                dim,
                n_pictures,
                temperature=T,
                m=recipe.bank_negatives,
                momentum=recipe.bank_momentum,
                graph=recipe.graph,
                negatives=recipe.negatives,
                start=recipe.bank_start,
            )
        case "cpc_v2":
            return CPC(backbone, width, recipe.views.size, recipe.cpc)
        case "cpc_v1":
            return CPCv1(backbone, width, recipe.views.size, recipe.cpc)
        case "cpc_audio":
            return CPCAudio(backbone, recipe.audio)
        case "rotation":
            return Rotation(backbone, width)
        case "exemplar":
            return Exemplar(backbone, width, n_pictures)
        case "relative_position":
            return RelativePosition(backbone, width, recipe.views.size, hidden)
        case "pseudo_label":
            return PseudoLabel(backbone, width, n_classes, recipe.unlabelled_weight, recipe.certainty)
        case "entropy_minimization":
            return EntropyMinimization(backbone, width, n_classes, recipe.unlabelled_weight)
        case "vat":
            return VAT(
                backbone,
                width,
                n_classes,
                recipe.unlabelled_weight,
                recipe.adversarial_length,
                entropy_weight=recipe.entropy_weight,
            )
        case "uda":
            return UDA(backbone, width, n_classes, recipe.unlabelled_weight, T, recipe.certainty)
        case "fine_tune":
            return _fine_tune(recipe, backbone, width, n_classes)
        case "distil":
            return _distil(recipe, backbone, width)


def _fine_tune(recipe: Recipe, backbone: nn.Module, width: int, n_classes: int) -> FineTune:
    """From the encoder and the head of the pretraining in the run folder `recipe.teacher`."""
    from training.saved_run import saved_run

    pretraining, method = saved_run(Path(recipe.teacher))
    try:
        backbone.load_state_dict(method.get_submodule("backbone").state_dict())
    except RuntimeError as error:
        raise RecipeError(
            f"{recipe.teacher} trained a {pretraining.backbone} with {dict(pretraining.backbone_args)}; fine-tuning "
            "goes on with the same network, so change --backbone and --backbone-args to these"
        ) from error
    return FineTune(backbone, width, getattr(method, "projector", None), recipe.head_layers, n_classes)


def _distil(recipe: Recipe, backbone: nn.Module, width: int) -> Distil:
    """With the classifier in the run folder `recipe.teacher` as the teacher."""
    from training.saved_run import saved_run

    _, teacher = saved_run(Path(recipe.teacher))
    if not isinstance(teacher, FineTune):
        raise RecipeError(
            f"{recipe.teacher} is no run of fine_tune, so it has no answers to distil; fine-tune it first"
        )
    return Distil(backbone, width, teacher, recipe.temperature)

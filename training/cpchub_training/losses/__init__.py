"""The losses of the contrastive family, as pure functions.

    in_batch  negatives are the other images of the batch: NT-Xent, SupCon, DCL, InvaSpread
    memory    negatives are remembered: InfoNCE against a queue, the NCE of InstDisc against a bank
    colours   a view's own colours, which the features are to keep
    cpc       what is predicted among all that could be, by unnormalised scores: CPC
    distillation  a student against its teacher
    metric    distances and margins: Hadsell's contrastive loss, triplets and their mining
    information  bounds on mutual information, which are measured and not trained with

Every loss computes in float32 whatever comes in, under autocast too, and is rank-aware where negatives are shared:
under `torchrun` the candidates of all ranks are gathered *with* their gradients, and each rank returns the mean over
its own anchors, so that DDP's averaging of gradients gives exactly the gradient of one rank with the whole batch
(tested). Shapes: N images, V views, D dimensions, K or m negatives.
"""

from __future__ import annotations

from cpchub_training.losses.colours import colour_loss
from cpchub_training.losses.cpc import cpc_info_nce
from cpchub_training.losses.distillation import distillation
from cpchub_training.losses.in_batch import dcl, inva_spread, nt_xent, sup_con
from cpchub_training.losses.information import (
    club_upper_bound,
    info_nce_lower_bound,
    leave_one_out_upper_bound,
    nwj_lower_bound,
    variational_upper_bound,
)
from cpchub_training.losses.memory import info_nce, instance_softmax, instdisc_nce
from cpchub_training.losses.metric import margin_contrastive, mined_triplet, triplet
from cpchub_training.losses.ranks import gather

__all__ = [
    "club_upper_bound",
    "colour_loss",
    "cpc_info_nce",
    "dcl",
    "distillation",
    "gather",
    "info_nce",
    "info_nce_lower_bound",
    "instance_softmax",
    "instdisc_nce",
    "inva_spread",
    "leave_one_out_upper_bound",
    "margin_contrastive",
    "mined_triplet",
    "nt_xent",
    "nwj_lower_bound",
    "sup_con",
    "triplet",
    "variational_upper_bound",
]

"""Checkpoints of facebookresearch/swav: SwAV, DeepCluster v2 and SeLa v2, which share network and layout.

Their published files are the bare state_dict of DistributedDataParallel; the training code writes it as `state_dict`.
"""

from __future__ import annotations

from cpchub.common.normalisation import IMAGENET_MEAN
from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.formats import said
from cpchub.importers.formats.cc_by_nc import LICENSE, NOT_COMMERCIAL
from cpchub.importers.ledger import PROJECTION, Ledger, has, training_settings
from cpchub.importers.networks.places import root_of
from cpchub.importers.networks.resnet_plan import resnet_plan

STD = (0.228, 0.224, 0.225)  # eval_linear.py and multicropdataset.py; 0.228 and not ImageNet's usual 0.229
_ONE_HEAD = "prototypes.weight"
_MANY_HEADS = "prototypes.prototypes0.weight"  # MultiPrototypes of src/resnet50.py
_SEVERAL = (
    "It has several heads of prototypes, as DeepCluster v2 and SeLa v2 have; the file does not say which it is. "
    "--method deepcluster-v2 or --method sela-v2 does."
)


class Swav:
    name = "swav"
    title = "SwAV, DeepCluster v2 and SeLa v2 (facebookresearch/swav)"

    def detect(self, checkpoint: Checkpoint) -> float:
        root = _root(checkpoint)
        return 1.0 if root is not None and f"{root}conv1.weight" in checkpoint.tensors else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        root = root_of(checkpoint, "projection_head.")  # whatever its prototypes are called
        if root is None:
            raise ledger.error(f"it has no *projection_head, beside which *{_ONE_HEAD} or *{_MANY_HEADS} stands")
        if said.settings(checkpoint).get("maxpool1") is False:  # pl_bolts' copy of the network
            raise ledger.error("maxpool1 is False, so its stem does not pool, for which there is no network here")
        several = f"{root}{_MANY_HEADS}" in checkpoint.tensors
        ledger.drop(f"{root}prototypes.", "the prototypes, to which only the loss compares")
        ledger.drop(f"{root}projection_head.", PROJECTION)
        facts = Facts(
            method="unknown" if several else "swav",
            mean=IMAGENET_MEAN,
            std=STD,
            license=LICENSE,
            limits=(NOT_COMMERCIAL,),
            method_notes=(_SEVERAL,) if several else (),
        )
        return resnet_plan(ledger, root, claims, facts, settings=training_settings(checkpoint))


def _root(checkpoint: Checkpoint) -> str | None:
    """What stands before conv1 and the prototypes; they are one module's."""
    root = root_of(checkpoint, _ONE_HEAD, _MANY_HEADS)
    return root if root is not None and has(checkpoint, f"{root}projection_head.") else None

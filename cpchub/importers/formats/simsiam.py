"""Checkpoints of facebookresearch/simsiam: one ResNet whose projector stands in its `fc`, and a predictor beside it."""

from __future__ import annotations

from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.formats.cc_by_nc import LICENSE, NOT_COMMERCIAL
from cpchub.importers.ledger import PROJECTION, Ledger, has, training_settings
from cpchub.importers.networks.places import root_of
from cpchub.importers.networks.resnet_plan import resnet_plan

_PREDICTOR = "predictor."
_PROJECTOR = "encoder.fc.6."  # the third layer; simsiam/builder.py


class SimSiam:
    name = "simsiam"
    title = "SimSiam (facebookresearch/simsiam)"

    def detect(self, checkpoint: Checkpoint) -> float:
        root = _root(checkpoint)
        return 1.0 if root is not None and has(checkpoint, f"{root}{_PROJECTOR}") else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        root = _root(checkpoint)
        if root is None:
            raise ledger.error("it has no *encoder.conv1.weight with a *predictor beside it")
        ledger.drop(f"{root}encoder.fc.", PROJECTION)
        ledger.drop(f"{root}{_PREDICTOR}", "the predictor, which the paper discards after training")
        facts = Facts(method="simsiam", license=LICENSE, limits=(NOT_COMMERCIAL,))
        return resnet_plan(ledger, f"{root}encoder.", claims, facts, settings=training_settings(checkpoint))


def _root(checkpoint: Checkpoint) -> str | None:
    """What stands before encoder and predictor; they are one module's."""
    root = root_of(checkpoint, _PREDICTOR)
    return root if root is not None and f"{root}encoder.conv1.weight" in checkpoint.tensors else None

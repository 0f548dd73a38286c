"""Checkpoints of facebookresearch/vissl: nested in `classy_state_dict`, or converted to a flat `model_state_dict`."""

from __future__ import annotations

from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.ledger import CLASSIFIER, OPTIMISER, PROJECTION, Ledger, training_settings
from cpchub.importers.networks.resnet_plan import resnet_plan

_TRUNK = "_feature_blocks."


class Vissl:
    name = "vissl"
    title = "VISSL (facebookresearch/vissl), a ResNet trunk"

    def detect(self, checkpoint: Checkpoint) -> float:
        return 1.0 if _trunk(checkpoint) is not None else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        trunk = _trunk(checkpoint)
        if trunk is None:
            raise ledger.error(f"it has no tensor *{_TRUNK}conv1.weight")
        ledger.drop(f"{trunk}fc.", CLASSIFIER)
        ledger.drop("classy_state_dict/base_model/model/heads/", PROJECTION)
        ledger.drop("classy_state_dict/optimizer/", OPTIMISER)
        ledger.drop("classy_state_dict/loss/", "the state of the loss")
        ledger.drop("model_state_dict/heads.", PROJECTION)
        return resnet_plan(ledger, trunk, claims, Facts("unknown"), settings=training_settings(checkpoint))


def _trunk(checkpoint: Checkpoint) -> str | None:
    """What stands before conv1 in the trunk; that of the model where the loss keeps a momentum copy."""
    found = [name.removesuffix("conv1.weight") for name in checkpoint.tensors if name.endswith(f"{_TRUNK}conv1.weight")]
    return min(found, key=lambda prefix: ("/loss/" in prefix, len(prefix)), default=None)

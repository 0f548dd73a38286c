"""SimCLR v1 as tonylins/simclr-converter turns google's TensorFlow checkpoints into torchvision's names.

The weights were trained with TensorFlow's padding, which the converter's own network does not have; they are imported
into a network that has it, and so give google's features again. Its classifier is of no use: the converter sets
`fc.weight.bias` instead of `fc.bias`, which keeps its random values.
"""

from __future__ import annotations

import re

from cpchub.errors import ImportFormatError
from cpchub.importers.format import Checkpoint, Claims, Conversion
from cpchub.importers.ledger import CLASSIFIER, NO_PART
from cpchub.importers.networks import simclr_layers
from cpchub.importers.networks.simclr_layers import Place, of_state_dict

PREFIX = "state_dict/"
LAYER = re.compile(r"(?:conv1|bn1|layer(?P<stage>\d)\.(?P<block>\d+)\.(?P<rest>(?P<list>conv|bn|downsample)\.?\d))")
BIAS = "a classifier's bias, which the converter left at random values"


class Tonylins:
    name = "tonylins"
    title = "SimCLR v1 converted by tonylins/simclr-converter"

    def detect(self, checkpoint: Checkpoint) -> float:
        """By the order of the tensors: the converter's network has the shortcut before the rest of a block."""
        order = {name: position for position, name in enumerate(checkpoint.tensors)}
        shortcut, first = (order.get(f"{PREFIX}layer1.0.{layer}.weight") for layer in ("downsample.0", "conv1"))
        if shortcut is None or first is None or f"{PREFIX}fc.bias" not in order:
            return 0.0
        return 0.9 if shortcut < first else 0.1

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        where = checkpoint.path.name
        layers = of_state_dict(checkpoint.tensors, PREFIX, _place)
        if not layers.kernels:
            raise ImportFormatError(f"{where} cannot be imported as {self.name}: it has no tensor {PREFIX}conv1.weight")
        used = layers.names()
        dropped = {name: _reason(name) for name in checkpoint.tensors if name not in used}
        return simclr_layers.plan(layers, claims, where=where, method="simclr", dropped=dropped)


def _place(module: str) -> Place | None:
    match = LAYER.fullmatch(module)
    if match is None:
        return None
    if match["stage"] is None:
        return (0,)
    return int(match["stage"]), int(match["block"]), int(match["list"] != "downsample"), match["rest"]


def _reason(name: str) -> str:
    if name == f"{PREFIX}fc.bias":
        return BIAS
    return CLASSIFIER if name.startswith(f"{PREFIX}fc.") else NO_PART

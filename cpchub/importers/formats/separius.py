"""SimCLR v2 as Separius/SimCLRv2-Pytorch turns google's TensorFlow checkpoints into a PyTorch network and its head.

The weights were trained with TensorFlow's padding, which the converter's own network has neither in its pool nor in its
unstrided shortcuts; they are imported into a network that has it, and so give google's features again.
"""

from __future__ import annotations

import re

from cpchub.errors import ImportFormatError
from cpchub.importers.format import Checkpoint, Claims, Conversion
from cpchub.importers.ledger import CLASSIFIER, NO_PART, PROJECTION
from cpchub.importers.networks import simclr_layers
from cpchub.importers.networks.simclr_layers import Place, of_state_dict

PREFIX = "resnet/"
LAYER = re.compile(r"net\.(?P<stage>\d+)\.(?:blocks\.(?P<block>\d+)\.(?P<list>projection|net)\.)?(?P<rest>.+)")
DROPPED = {"head/": PROJECTION, f"{PREFIX}fc.": CLASSIFIER}


class Separius:
    name = "separius"
    title = "SimCLR v2 converted by Separius/SimCLRv2-Pytorch"

    def detect(self, checkpoint: Checkpoint) -> float:
        blocks = (f"{PREFIX}net.0.0.weight", f"{PREFIX}net.1.blocks.0.net.0.weight")
        return float(all(name in checkpoint.tensors for name in blocks))

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        where = checkpoint.path.name
        layers = of_state_dict(checkpoint.tensors, PREFIX, _place)
        if not layers.kernels:
            raise ImportFormatError(
                f"{where} cannot be imported as {self.name}: it has no tensor {PREFIX}net.0.0.weight"
            )
        used = layers.names()
        dropped = {name: _reason(name) for name in checkpoint.tensors if name not in used}
        return simclr_layers.plan(layers, claims, where=where, method="simclr-v2", dropped=dropped)


def _place(module: str) -> Place | None:
    match = LAYER.fullmatch(module)
    if match is None:
        return None
    # The numbers in `rest` have one digit, so the text sorts as they do; "main_conv" comes before "mixing_conv".
    return int(match["stage"]), int(match["block"] or 0), int(match["list"] != "projection"), match["rest"]


def _reason(name: str) -> str:
    return next((reason for prefix, reason in DROPPED.items() if name.startswith(prefix)), NO_PART)

"""Checkpoints of facebookresearch/moco (v1 and v2) and facebookresearch/moco-v3.

Both keep two encoders, of which the one that is trained is published. Their weights are under CC-BY-NC 4.0.
"""

from __future__ import annotations

from dataclasses import replace

from cpchub.errors import ImportFormatError
from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.formats.cc_by_nc import LICENSE, NOT_COMMERCIAL
from cpchub.importers.ledger import PROJECTION, Ledger, has, training_settings
from cpchub.importers.networks import vit
from cpchub.importers.networks.places import root_of
from cpchub.importers.networks.resnet_plan import agreed, resnet_plan

_MOMENTUM = "the momentum encoder; the encoder that it follows is the one to publish"
_QUEUE = "the queue of keys"
_HEADS = {"vit_small": 12, "vit_base": 12, "vit_large": 16, "vit_huge": 16}  # num_heads in moco-v3/vits.py
_HEADS_BY_WIDTH = {384: 12, 768: 12, 1024: 16}


class Moco:
    name = "moco"
    title = "MoCo v1 and v2 (facebookresearch/moco)"

    def detect(self, checkpoint: Checkpoint) -> float:
        return _sureness(checkpoint, "encoder_q.")

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        prefix = root_of(checkpoint, "encoder_q.")
        if prefix is None:
            raise ledger.error("it has no tensor *encoder_q.conv1.weight")
        version = 2 if has(checkpoint, f"{prefix}encoder_q.fc.0.") else 1
        ledger.drop(f"{prefix}encoder_q.fc.", PROJECTION)
        ledger.drop(f"{prefix}encoder_k.", _MOMENTUM)
        ledger.drop(f"{prefix}queue", _QUEUE)
        facts = Facts(method=f"moco-v{version}", license=LICENSE, limits=(NOT_COMMERCIAL,))
        settings = training_settings(checkpoint, "hyper_parameters")
        return resnet_plan(ledger, f"{prefix}encoder_q.", claims, facts, settings=settings)


class MocoV3:
    name = "moco-v3"
    title = "MoCo v3 (facebookresearch/moco-v3), ResNet and ViT"

    def detect(self, checkpoint: Checkpoint) -> float:
        return _sureness(checkpoint, "base_encoder.")

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        prefix = root_of(checkpoint, "base_encoder.")
        if prefix is None:
            raise ledger.error("it has no tensor *base_encoder.conv1.weight and no *base_encoder.cls_token")
        encoder = f"{prefix}base_encoder."
        transformer = has(checkpoint, f"{encoder}cls_token")
        ledger.drop(f"{encoder}{'head.' if transformer else 'fc.'}", PROJECTION)
        ledger.drop(f"{prefix}momentum_encoder.", _MOMENTUM)
        ledger.drop(f"{prefix}predictor.", "the predictor, which the paper discards after training")
        facts = Facts(method="moco-v3", license=LICENSE, limits=(NOT_COMMERCIAL,))
        settings = training_settings(checkpoint)
        if not transformer:
            return resnet_plan(ledger, encoder, claims, facts, settings=settings)
        taken = ledger.take(encoder)
        width = taken.shapes.get("patch_embed.proj.weight", (0,))[0]
        heads = _HEADS.get(str(checkpoint.meta.get("arch"))) or _HEADS_BY_WIDTH.get(width, 12)
        try:
            found = vit.recognise(taken.shapes, num_heads=heads)
        except ImportFormatError as error:
            raise ledger.error(str(error)) from error
        facts = agreed(ledger, claims, found, facts)
        side = found.model_args.get("img_size", 224)
        facts = replace(facts, input_size=(found.in_chans, side, side))
        return ledger.plan(found.architecture, found.model_args, taken, facts, settings)


def _sureness(checkpoint: Checkpoint, encoder: str) -> float:
    """Not of mmselfsup's, which has the encoder a second time under these names, as layer 0 beside its neck."""
    root = root_of(checkpoint, encoder)
    return 1.0 if root is not None and not has(checkpoint, f"{root}{encoder}0.", f"{root}backbone.") else 0.0

"""A head with its encoder as one file for other runtimes: transformed images to class probabilities.

from cpchub.encoders.onnx_export import write_onnx

head = cpchub.load_classifier("scenes")
write_onnx(with_head(cpchub.load(head.encoder_to_load, device="cpu"), head), "scenes.onnx")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from cpchub.encoders.encoder import Encoder
from cpchub.encoders.onnx_export import Exportable
from cpchub.errors import ArgumentError
from cpchub.fewlabels.heads.head import Head
from cpchub.fewlabels.heads.network import HeadNetwork, Typical


def with_head(encoder: Encoder, head: Head) -> Exportable:
    """What `write_onnx` and `write_program` take: "images" `[batch, C, H, W]` to "probabilities" `[batch, classes]`.

    The file's metadata has the names of the classes in the order of the columns, as "classes" in the JSON that is
    called "cpchub". A head that can answer "none of these" has a second output, "typical" `[batch]`: an image that is
    less typical than "none_of_these_below" there is of no class.

    Raises EncoderMismatchError for another encoder than that of the head.
    """
    head.check_encoder(encoder.spec)
    alone = Exportable.of(encoder)
    if list(alone.outputs) != ["features"]:
        raise ArgumentError(f"{encoder.spec.name} gives {alone.outputs[0]}, not features; load it by its name alone")
    facts = {**alone.facts, "classes": head.classes, "labels_sha256": head.labels_sha256}
    outputs = ["probabilities"]
    heads: list[nn.Module] = [HeadNetwork(head.classifier)]
    if head.none_of_these is not None:
        outputs, heads = [*outputs, "typical"], [*heads, Typical(head.none_of_these)]
        facts["none_of_these_below"] = head.none_of_these.least_typical
    return replace(alone, network=_OnFeatures(alone.network, heads).eval(), outputs=outputs, facts=facts)


class _OnFeatures(nn.Module):
    """What each head says of the features of an encoder: one tensor for one head, else one of each."""

    def __init__(self, encoder: nn.Module, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        features = self.encoder(x)
        found = [head(features) for head in self.heads]
        return found[0] if len(found) == 1 else found

"""A head with its encoder as one file for other runtimes: transformed images to class probabilities.

from cpchub.encoders.onnx_export import write_onnx

head = cpchub.load_classifier("scenes")
write_onnx(with_head(cpchub.load(head.encoder_to_load, device="cpu"), head), "scenes.onnx")
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from cpchub.encoders.encoder import Encoder
from cpchub.encoders.onnx_export import Exportable
from cpchub.errors import ArgumentError
from cpchub.fewlabels.head import Head
from cpchub.fewlabels.head_network import HeadNetwork

OUTPUT = "probabilities"


def with_head(encoder: Encoder, head: Head) -> Exportable:
    """What `write_onnx` and `write_program` take: "images" `[batch, C, H, W]` to "probabilities" `[batch, classes]`.

    The file's metadata has the names of the classes in the order of the columns, as "classes" in the JSON that is
    called "cpchub". Raises EncoderMismatchError for another encoder than that of the head.
    """
    head.check_encoder(encoder.spec)
    alone = Exportable.of(encoder)
    if list(alone.outputs) != ["features"]:
        raise ArgumentError(f"{encoder.spec.name} gives {alone.outputs[0]}, not features; load it by its name alone")
    facts = {**alone.facts, "classes": head.classes, "labels_sha256": head.labels_sha256}
    network = nn.Sequential(alone.network, HeadNetwork(head.classifier)).eval()
    return replace(alone, network=network, outputs=[OUTPUT], facts=facts)

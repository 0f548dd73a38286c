"""The encoder that embedded a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpchub.errors import (
    EncoderMismatchError,
    ModelFolderError,
    UnknownModelError,
    WeightsUnavailableError,
)

if TYPE_CHECKING:
    from cpchub.collection.collection import Collection
    from cpchub.encoders.encoder import Encoder


def encoder_of(collection: Collection, name: str | None = None) -> Encoder:
    """Load the encoder that embedded a collection: by `name` if given, else as recorded in the manifest."""
    from cpchub.collection.import_vectors import IMPORTED
    from cpchub.encoders.load import load

    if collection.manifest["encoder"]["fingerprint"] == IMPORTED:
        raise EncoderMismatchError(
            f"{collection.folder} holds vectors that were computed elsewhere, so no encoder here gives vectors to "
            "compare with them. Search it by images that it holds: their path, or id:NUMBER."
        )
    try:
        encoder = load(name or collection.encoder_to_load)
        collection.check_encoder(encoder.spec)
    except (UnknownModelError, ModelFolderError, WeightsUnavailableError, EncoderMismatchError) as error:
        if name is not None:
            raise
        raise type(error)(f"{error} Name the encoder's folder or Hub id with --encoder.") from error
    return encoder

"""Load the encoder of a collection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from cpchub.errors import (
    EncoderMismatchError,
    ModelFolderError,
    UnknownModelError,
    WeightsUnavailableError,
)

if TYPE_CHECKING:
    from cpchub.collection.collection import Collection
    from cpchub.encoders.encoder import Encoder
    from cpchub.encoders.protocols import ImageEncoder

Loaded = TypeVar("Loaded", bound="ImageEncoder")


def encoder_of(collection: Collection, name: str | None = None) -> Encoder:
    """Load the encoder that embedded a collection.

    name: where to find it (a catalogue name, folder or Hub id), if not where the manifest says.

    Raises EncoderMismatchError if the vectors were computed elsewhere or the encoder is another one, UnknownModelError,
    ModelFolderError or WeightsUnavailableError if the encoder cannot be loaded.
    """
    from cpchub.encoders.load import load

    return _checked(load, collection, name)


def image_encoder_of(collection: Collection, name: str | None = None) -> ImageEncoder:
    """The same for images alone, without torch where the encoder's converted network is kept."""
    from cpchub.encoders.kept_encoder import load_for_images

    return _checked(load_for_images, collection, name)


def later_encoder_of(collection: Collection, name: str | None = None) -> ImageEncoder:
    """The same for a page or an API: its network is loaded with the first image, where that can be."""
    from cpchub.encoders.kept_encoder import load_later

    return _checked(load_later, collection, name)


def _checked(load: Callable[[str], Loaded], collection: Collection, name: str | None) -> Loaded:
    if collection.imported:
        raise EncoderMismatchError(
            f"the vectors of {collection.place} were computed elsewhere, so cpchub cannot embed a new image with "
            "the same encoder. Search with an image of the collection: its path, or id:NUMBER."
        )
    try:
        encoder = load(name or collection.encoder_to_load)
        collection.check_encoder(encoder.spec)
    except (UnknownModelError, ModelFolderError, WeightsUnavailableError, EncoderMismatchError) as error:
        if name is not None:
            raise  # the user has already named an encoder
        raise type(error)(f"{error} Name the encoder's folder or Hub id with --encoder.") from error
    return encoder

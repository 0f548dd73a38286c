"""The one place where what a decoder raises becomes our error, so that one image never ends a job."""

from __future__ import annotations

from types import TracebackType

from PIL import Image

from cpchub.errors import BrokenImageError, CpchubError

TOO_LITTLE_MEMORY = "there is too little memory for it; close other programs, or make a smaller copy"


class damage_as_failure:
    """A `with` block around a decoder: raises BrokenImageError with the bare reason, whatever the decoder raises.

    Decoders of nine formats raise a dozen types on damaged files, other ones after an update, so none is listed here.
    """

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, CpchubError):
            raise BrokenImageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return "too many pixels to decode safely; make a smaller copy"
    if isinstance(error, MemoryError):
        return TOO_LITTLE_MEMORY
    return f"the image is damaged ({str(error) or type(error).__name__})"

"""Have the files of an encoder on this machine before they are needed."""

from __future__ import annotations

from pathlib import Path

from cpchub.catalog.listing import get_spec
from cpchub.common.files import expanded
from cpchub.errors import ArgumentError, UnknownModelError
from cpchub.hub import public
from cpchub.hub.locate import find


def fetch(name: str, *, cache_dir: str | Path | None = None, keep: str | Path | None = None) -> Path:
    """The folder of an encoder with its weights, which is fetched, checked and converted if need be.

    keep: a folder into which the authors' files of a public encoder are moved, which are dropped otherwise.

    Raises ArgumentError where there is nothing to keep, else as `find`.
    """
    if keep is not None:
        try:
            spec = get_spec(name)
        except UnknownModelError:
            spec = None
        if spec is None or spec.origin is None:
            raise ArgumentError(f"{name} has no files of others to keep; leave keep out")
        public.locate_public(spec, cache_dir, keep=expanded(keep))
    return find(name, cache_dir=cache_dir)

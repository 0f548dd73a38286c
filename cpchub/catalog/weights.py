"""Where the weights of an encoder come from, in a few words."""

from __future__ import annotations

from cpchub.catalog.families import is_here
from cpchub.catalog.spec import WEIGHTS, ModelSpec

_MEGABYTE = 1e6


def where_the_weights_are(spec: ModelSpec, *, host: bool = True) -> str:
    """The package, this machine, or how much has to be fetched, and from which host unless that is left out."""
    if spec.status == "bundled":
        return "in the package"
    if spec.status == "recipe":
        return "none yet"
    if is_here(spec):
        return "fetched" if spec.origin is not None or spec.repo_id is not None else "here"
    if spec.origin is not None:
        first = spec.origin.sources[0]
        return f"to be fetched: {first.size_in_words}" + (f", from {first.host}" if host else "")
    record = spec.files.get(WEIGHTS)
    size = "size not stated" if record is None or record.size is None else f"{record.size / _MEGABYTE:,.0f} MB"
    return f"to be fetched: {size}" + (", from the Hub" if host else "")

"""Where the weights of an encoder come from, in a few words."""

from __future__ import annotations

from cpchub.catalog.families import is_here
from cpchub.catalog.spec import WEIGHTS, ModelSpec

_MEGABYTE = 1e6


def where_the_weights_are(spec: ModelSpec) -> str:
    """The package, this machine, or how much has to be fetched from which host."""
    if spec.status == "bundled":
        return "in the package"
    if spec.status == "recipe":
        return "none yet"
    if is_here(spec):
        return "fetched" if spec.origin is not None or spec.repo_id is not None else "here"
    if spec.origin is not None:
        first = spec.origin.sources[0]
        return f"to be fetched: {first.size_in_words}, from {first.host}"
    record = spec.files.get(WEIGHTS)
    size = record.size if record is not None else None
    return f"to be fetched: {'size not stated' if size is None else f'{size / _MEGABYTE:,.0f} MB'}, from the Hub"

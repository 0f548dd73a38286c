"""Where the weights of an encoder come from, in a few words."""

from __future__ import annotations

from cpchub.catalog.families import is_here
from cpchub.catalog.spec import WEIGHTS, ModelSpec

_MEGABYTE = 1e6


def where_the_weights_are(spec: ModelSpec, *, host: bool = True) -> str:
    """The package, this machine, or how much has to be fetched where that is stated, and from which host unless that
    is left out.
    """
    if spec.status == "bundled":
        return "in the package"
    if spec.status == "recipe":
        return "none yet"
    if is_here(spec):
        return "fetched" if spec.origin is not None or spec.repo_id is not None else "here"
    if spec.origin is not None:
        size, source = spec.origin.sources[0].megabytes, spec.origin.sources[0].host
    else:
        record, source = spec.files.get(WEIGHTS), "the Hub"
        size = None if record is None or record.size is None else record.size / _MEGABYTE
    told = "to be fetched" + ("" if size is None else f": {size:,.0f} MB")
    return f"{told}, from {source}" if host else told

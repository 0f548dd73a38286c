"""One line of advice where the small bundled encoder is about to embed photos: which encoder of the catalog fits them.

It is said for a new collection only. `progress=False` (`--quiet`) and CPCHUB_NO_ADVICE silence it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from cpchub.catalog.families import is_here, published
from cpchub.catalog.listing import list_specs
from cpchub.catalog.spec import CONFIG, ModelSpec, read_json
from cpchub.catalog.vocabulary import data_title, learned_from_labels
from cpchub.catalog.weights import where_the_weights_are
from cpchub.errors import CpchubError
from cpchub.media.sources import Listing, Source

LARGE = 100  # pixels: the bundled encoders were trained on images of 32
_SAMPLE = 3  # images whose size is looked at
_MOST_PARAMETERS = 30_000_000  # a ResNet-50, or a ViT-S: what a CPU can do with patience


def advice(spec: ModelSpec, source: Source, listing: Listing) -> str:
    """The sentence, or "" where there is nothing to advise."""
    if os.environ.get("CPCHUB_NO_ADVICE") or spec.status != "bundled" or spec.input_size[1] > LARGE:
        return ""
    sizes = list(_sizes(source, listing))
    if not sizes or min(min(size) for size in sizes) <= LARGE:
        return ""
    better = photo_encoder()
    if better is None:
        return ""
    return (
        f"Your images have up to {max(sizes)[0]} x {max(sizes)[1]} pixels, and {spec.name} sees {spec.input_size[1]} x "
        f"{spec.input_size[2]} of them. For photos take --encoder {better.name} ({published(better):.1%} on "
        f"{data_title(better.data)} as published, {better.license}, {where_the_weights_are(better)}), into another "
        "folder; CPCHUB_NO_ADVICE=1 silences this"
    )


def photo_encoder() -> ModelSpec | None:
    """The public encoder that fits photos on any machine: free for all uses, of moderate size, trained without labels,
    of the best published accuracy; one that is here already goes first.

    Without labels, since one that has learned the very classes of the probe has a figure that promises too much.
    """
    specs = list_specs(status="public", license="commercial")
    large = (spec for spec in specs if spec.input_size[1] > LARGE and _is_moderate(spec))
    fitting = [spec for spec in large if published(spec) and not learned_from_labels(spec.method)]
    return max(fitting, key=lambda spec: (is_here(spec), published(spec) or 0.0), default=None)


def _is_moderate(spec: ModelSpec) -> bool:
    facts = read_json(spec.folder / CONFIG).get("cpchub", {}) if spec.folder is not None else {}
    return int(facts.get("parameters", 0)) <= _MOST_PARAMETERS


def _sizes(source: Source, listing: Listing) -> Iterator[tuple[int, int]]:
    """Width and height of a few images, as their headers say; what cannot be read is told of elsewhere."""
    step = max(1, len(listing.images) // _SAMPLE)
    for image in listing.images[::step][:_SAMPLE]:
        try:
            with Image.open(io.BytesIO(source.read(image))) as opened:
                yield opened.size
        except (CpchubError, OSError, UnidentifiedImageError, Image.DecompressionBombError):
            continue

"""What the catalog knows of its encoders, as the page tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cpchub.catalog.families import is_here, measured, published
from cpchub.catalog.licences import in_words
from cpchub.catalog.listing import canonical, list_specs
from cpchub.catalog.spec import EVALUATION, ModelSpec, read_json
from cpchub.catalog.vocabulary import data_title, method_title
from cpchub.catalog.weights import where_the_weights_are
from cpchub.errors import QueryError


@dataclass(frozen=True)
class Known:
    """One encoder of the catalog."""

    spec: ModelSpec
    here: bool  # its weights are on this machine

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def can_be_tried(self) -> bool:
        return self.spec.status != "recipe" and self.spec.sample_rate is None

    @cached_property
    def evaluation(self) -> Mapping[str, Any]:
        """What was measured of it; empty where nothing was."""
        path = self.spec.folder / EVALUATION if self.spec.folder else None
        return read_json(path) if path is not None and path.is_file() else {}

    @cached_property
    def accuracy(self) -> str:
        """One figure in words: our own kNN, or the linear probe that its authors published."""
        labels, ours = measured(self.spec)
        if labels:
            return f"{ours:.1%} kNN"
        theirs = published(self.spec)
        return "" if theirs is None else f"{theirs:.1%} linear, published"

    def facts(self) -> list[tuple[str, str]]:
        """Names and values for a small table."""
        spec = self.spec
        lines = [
            ("Method", method_title(spec.method)),
            ("Trained on", data_title(spec.data)),
            ("Network", spec.architecture),
            ("Input", " × ".join(map(str, spec.input_size[1:]))),
            ("Vector", f"{spec.dim:,} numbers"),
            ("Accuracy", self.accuracy),
            ("Licence", in_words(spec.license)),
            ("Weights", where_the_weights_are(spec)),
        ]
        return [(name, value) for name, value in lines if value]


class Catalog:
    """The encoders of images in the catalog, those on this machine first."""

    @cached_property
    def encoders(self) -> list[Known]:
        known = [Known(spec, is_here(spec)) for spec in list_specs() if spec.sample_rate is None]
        return sorted(known, key=lambda each: (not each.here, each.spec.status == "recipe"))

    def named(self, name: str) -> Known:
        """The encoder of that name. Raises QueryError for one that is not there."""
        for each in self.encoders:
            if each.name == name:
                return each
        raise QueryError(f"There is no encoder {name!r} in the catalog.")

    def matching(self, text: str) -> list[Known]:
        """The encoders in whose name, method or data all words of `text` occur."""
        words = canonical(text).split("-")
        return [each for each in self.encoders if all(word in _said_of(each.spec) for word in words)]


def _said_of(spec: ModelSpec) -> str:
    return canonical(" ".join((spec.name, method_title(spec.method), data_title(spec.data), spec.architecture)))

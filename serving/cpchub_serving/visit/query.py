"""What is asked for, as a link has it: images with their weights, a filter, the number of results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cpchub.errors import QueryError
from cpchub.index.where import LONGEST

PART = re.compile(r"(?P<kind>id|upload):(?P<name>[0-9a-f]{1,64})(?:\*(?P<weight>\d{1,3}(?:\.\d{1,3})?))?")
MOST_PARTS = 50
MOST = 2000  # results of one query, those that are folded included
RESULTS = (24, 100, 500, MOST)
DEFAULT = 100


@dataclass(frozen=True)
class Part:
    """An image of a query, `id:42` of the collection or `upload:TOKEN`, and how much it counts; negative: less like it.

    A link writes it `id:42`, or `id:42*0.5` where the weight is not 1.
    """

    kind: str
    name: str
    weight: float

    @classmethod
    def read(cls, text: str, sign: int = 1) -> Part:
        """From a link. Raises QueryError."""
        found = PART.fullmatch(text)
        if found is None or (found["kind"] == "id" and not found["name"].isdecimal()):
            raise QueryError(f"{text!r} is not understood; a link names an image as id:42 or id:42*0.5.")
        return cls(found["kind"], found["name"], sign * float(found["weight"] or 1))

    @property
    def id(self) -> int | None:
        """The id of an image of the collection; None of an upload."""
        return int(self.name) if self.kind == "id" else None

    @property
    def what(self) -> str:
        """`id:42` or `upload:TOKEN`."""
        return f"{self.kind}:{self.name}"

    def __str__(self) -> str:
        weight = abs(self.weight)
        return self.what if weight == 1 else f"{self.what}*{weight:g}"


@dataclass(frozen=True)
class Query:
    """Parts (none: the whole collection is shown), a filter in the language of `cpchub.index.where`, and how many
    results are wanted."""

    parts: tuple[Part, ...] = ()
    where: str = ""
    k: int = DEFAULT

    @classmethod
    def read(
        cls, q: str = "", plus: Sequence[str] = (), minus: Sequence[str] = (), where: str = "", k: int = 0
    ) -> Query:
        """From the fields of a link: `q` is the image searched with, `plus` and `minus` refine. Raises QueryError."""
        if 1 + len(plus) + len(minus) > MOST_PARTS:
            raise QueryError(f"At most {MOST_PARTS} images can be searched with at once; remove some.")
        if len(where) > LONGEST:
            raise QueryError(f"The filter has {len(where):,} characters; at most {LONGEST:,} are read.")
        first = (Part.read(q),) if q else ()
        more = tuple(Part.read(text, sign) for sign, texts in ((1, plus), (-1, minus)) for text in texts)
        return cls(first + more, where.strip(), min(k, MOST) if k > 0 else DEFAULT)

"""The results as HTML: tiles with their small buttons, what was searched with, and a line about the search."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cpchub.common.words import counted
from cpchub_serving.page import markup
from cpchub_serving.page.context import Context
from cpchub_serving.visit.alike import Group
from cpchub_serving.visit.query import MOST, RESULTS, Part, Query
from cpchub_serving.visit.searching import Answer, Searches

WEIGHTS = (0.25, 0.5, 1.0, 2.0)
GLASS = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="6.5" cy="6.5" r="4.5"/><path d="M10 10l4.5 4.5"/></svg>'
)
SMALL = (
    ("search", GLASS, "Search with this image", "s"),
    ("plus", "+", "More like this image", "+"),
    ("minus", "−", "Less like this image", "-"),
)


class Results:
    """Draws answers of one collection."""

    def __init__(self, context: Context, searches: Searches) -> None:
        self.finder = context.finder
        self.thumbnails = context.thumbnails
        self.allow_download = context.allow_download
        self.searches = searches

    def tiles(self, answer: Answer, groups: Sequence[Group]) -> str:
        """Groups side by side; those of a group that are folded follow their first, out of sight."""
        return "".join(self._group(answer, group) for group in groups)

    def heading(self, query: Query, answer: Answer) -> str:
        """What is shown, how to read it, and what can be done with all of it."""
        tools = self._choice(query) if query.parts else ""
        tools += '<a class="cpc-button" data-download="results.csv" download>CSV</a>'
        if self.allow_download:
            tools += '<a class="cpc-button" data-download="originals.zip" download>Originals (zip)</a>'
        return markup.heading(*self._title(query, answer), f'<div class="cpc-tools">{tools}</div>')

    def nothing(self, query: Query) -> str:
        """In place of tiles, where nothing was found."""
        if query.where:
            return markup.empty("No image fits the filter", "Take a condition away, or clear the filter.")
        return markup.empty("No other image", "The collection holds no other image.")

    def query(self, query: Query) -> str:
        """What was searched with: the image, then those that were added to it and taken from it."""
        return "".join(self._chip(part, place) for place, part in enumerate(query.parts))

    def status(self, answer: Answer, query: Query) -> str:
        """Encoder, images, kind of index, measured recall, and the milliseconds of this search."""
        finder, setting = self.finder, self.finder.index.setting
        uploads = [self.searches.uploads.get(part.name) for part in query.parts if part.id is None]
        facts = [
            ("encoder", finder.encoder_name),
            ("images", f"{finder.count:,}"),
            ("index", setting.kind),
            ("recall@10", "1 (exact)" if setting.exact else f"{setting.recall:.3f}, measured"),
            ("filtered in" if not query.parts else "searched in", f"{answer.search_ms:.1f} ms"),
        ]
        if uploads:
            facts.append(("encoded in", f"{sum(upload.encode_ms for upload in uploads):.0f} ms"))
        return "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in facts)

    def _title(self, query: Query, answer: Answer) -> tuple[str, str]:
        fitting = counted(answer.fitting, "image")
        if not query.parts:
            detail = f"of {self.finder.count:,} fit the filter." if query.where else "in a mixed order."
            how = " Click one to see it large; search, + and − look for its like." if answer.fitting else ""
            return "The collection", f"{fitting} {detail}{how}"
        count, typical = len(answer.rows), self.finder.typical_score
        among = f"Among {fitting} that fit the filter" if query.where else self.finder.how
        combined = len(query.parts) > 1 or query.parts[0].weight < 0
        title = "Nearest to the combination" if combined else "Nearest images"
        return title, (
            f"{among}. The score is the cosine: 1 is the same image, {typical:.2f} is usual for two images of this "
            f"collection.{' Near-duplicates are folded.' if answer.drawn < count else ''}"
        )

    def _choice(self, query: Query) -> str:
        options = [(str(k), "All" if k == MOST else str(k)) for k in RESULTS]
        return markup.choice("results", options, str(query.k), f"Number of results; all: at most {MOST:,}")

    def _chip(self, part: Part, place: int) -> str:
        row = self.searches.row_of(part)
        if row is None:
            name = self.searches.uploads.get(part.name).name
            image = f'<img src="page/search/upload/{escape(part.name)}" alt="" class="cpc-chip-image">'
        else:
            name = self.finder.paths[row]
            tile = f'<img src="{escape(self.thumbnails.url(row))}" alt="">'
            image = (
                f'<button type="button" class="cpc-chip-image" data-large="{row}" '
                f'aria-label="See {escape(name)} large">{tile}</button>'
            )
        shown = escape(name.rpartition("/")[2])
        sign = "" if part.weight == 1 and place == 0 else _weight(part, place, shown)
        return (
            f'<span class="cpc-chip{" cpc-minus" if part.weight < 0 else ""}" title="{escape(name)}">{image}{sign}'
            f'<span class="cpc-chip-name">{shown}</span><button type="button" class="cpc-remove" '
            f'data-remove="{place}" aria-label="Remove {shown} from the query">×</button></span>'
        )

    def _group(self, answer: Answer, group: Group) -> str:
        cells = [self._cell(answer, group.first, len(group.others))]
        cells += [self._cell(answer, place, folded_under=group.first) for place in group.others]
        return "".join(cells)

    def _cell(self, answer: Answer, place: int, alike: int = 0, folded_under: int | None = None) -> str:
        row = int(answer.rows[place])
        item = int(self.finder.index.items["id"][row].as_py())
        path, typical = self.finder.paths[row], self.finder.typical_score
        if answer.scores is None:
            tile = markup.Tile(row, self.thumbnails.url(row), path)
        else:
            score = float(answer.scores[place])
            meter = (score - typical) / max(1 - typical, 1e-6)
            tile = markup.Tile(row, self.thumbnails.url(row), path, f"{score:.3f}", meter=meter)
        small = "".join(
            markup.small_button(sign, f"{said}: {path}", f'data-small="{act}"', f"{said} (key {key})", by_key=True)
            for act, sign, said, key in SMALL
        )
        unfold = (
            f'<button type="button" class="cpc-alike" data-unfold="{place}" aria-expanded="false" '
            f'title="Near-duplicates of this image">{alike + 1} alike</button>'
            if alike
            else ""
        )
        under = "" if folded_under is None else f' data-under="{folded_under}" hidden'
        return markup.cell(markup.tile_button(tile, "large", "Open"), small, f' data-id="{item}"{under}', unfold)


def _weight(part: Part, place: int, name: str) -> str:
    """How much a part of the query counts, to be chosen."""
    values = sorted({*WEIGHTS, abs(part.weight)})
    sign = "−" if part.weight < 0 else "+"
    options = "".join(
        f'<option value="{value:g}"{" selected" if value == abs(part.weight) else ""}>{sign}{value:g}</option>'
        for value in values
    )
    return f'<select class="cpc-menu" data-weight="{place}" aria-label="How much {name} counts">{options}</select>'

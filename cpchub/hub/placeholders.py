"""Find placeholders that were left in a card.

Only a placeholder in place of text counts. Code, `{{...}}` in a BibTeX entry, the name of a data folder and a word in
a sentence are the author's text.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"^(```|~~~).*?(^\1|\Z)|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n---\r?\n?", re.DOTALL)
_IN_BRACKETS = re.compile(r"\[More Information Needed\]|\[optional\]|\byour-username\b")
# Jinja's, as the Hub's cards have: `{{ name }}`. BibTeX and TeX write `{{name}}`, which only counts where it is all.
_TEMPLATE = re.compile(r"\{\{-?\s+[\w.]+\s*(?:\|[^{}]*)?-?\}\}|\{%.*?%\}|(?:^|: ?)\{\{[\w.]+\}\}$", re.MULTILINE)
# Alone in a line, a list's entry or a table's cell, or all that follows a name and a colon; or a note to oneself.
_MARK = re.compile(
    r"(?:^|\||:)[\s>*_#-]*(TODO|FIXME|TBD|XXX)\b[.!…*_\s]*(?=$|\|)|^[\s<!>*_#-]*(TODO|FIXME)\b[:(]", re.MULTILINE
)


def first(card: str, generated: re.Pattern[str]) -> tuple[int, str] | None:
    """Line (from 1) and text of the first placeholder of a card; None where there is none.

    `generated` matches what no person wrote: facts stand there, and a folder may be called XXX.
    """
    prose = _CODE.sub(_blank, card)
    own = _FRONT_MATTER.sub(_blank, generated.sub(_blank, prose))
    places = [(match.start(), match[0]) for pattern in (_IN_BRACKETS, _TEMPLATE) for match in pattern.finditer(prose)]
    places += [(match.start(match.lastindex or 0), match[match.lastindex or 0]) for match in _MARK.finditer(own)]
    if not places:
        return None
    place, placeholder = min(places)
    return card.count("\n", 0, place) + 1, placeholder


def _blank(match: re.Match[str]) -> str:
    """Blank a match; the number of characters and lines stays the same."""
    return re.sub(r"[^\n]", " ", match[0])

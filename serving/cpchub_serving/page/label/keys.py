"""The keys of the Label tab, shown on the page."""

from __future__ import annotations

KEYS = (
    ("1 … 9, 0", "give the image a class, and go on to the next"),
    ("Enter, Space", "give the active class, or take it away"),
    ("← → ↑ ↓", "move among the images"),
    ("x", "unsure: skip the image, and do not offer it again"),
    ("l", "look at the image in large"),
    ("u, r", "undo, redo"),
    ("n, p", "next page, previous page"),
    ("?", "this list"),
)


def keys_dialog() -> str:
    """The list of keys, which label.js opens."""
    lines = "".join(f"<dt>{keys}</dt><dd>{what}</dd>" for keys, what in KEYS)
    return (
        '<dialog id="label-keys" aria-labelledby="label-keys-title"><h2 id="label-keys-title">Keys</h2>'
        f'<dl>{lines}</dl><button type="button" class="cpc-button" data-close>Close</button></dialog>'
    )

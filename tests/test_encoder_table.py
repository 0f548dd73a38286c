"""The guide's tables of all encoders are those that their files give."""

from __future__ import annotations

import runpy
from pathlib import Path

from cpchub.catalog.listing import list_specs

DOCS = Path(__file__).parents[1] / "docs"


def test_the_committed_tables_are_up_to_date() -> None:
    text = (DOCS / "guides" / "which-encoder.md").read_text(encoding="utf-8")
    written_anew = runpy.run_path(str(DOCS / "encoder_table.py"))["page"](text)
    assert text == written_anew, "run: python docs/encoder_table.py"


def test_every_encoder_with_weights_has_a_row() -> None:
    text = (DOCS / "guides" / "which-encoder.md").read_text(encoding="utf-8")
    names = [spec.name for spec in list_specs() if spec.status in ("public", "bundled")]
    assert [name for name in names if f"\n| `{name}` |" not in text] == []

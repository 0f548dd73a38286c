"""The cards of the encoders that ship with the package are complete, and what they show runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpchub.catalog import listing
from cpchub.hub import card

SHIPPED = listing.catalog_folder()


class TestShippedCards:
    @pytest.mark.parametrize("name", sorted(path.parent.name for path in SHIPPED.glob("*/config.json")))
    def test_they_are_complete(self, name: str) -> None:
        text = (SHIPPED / name / "README.md").read_text(encoding="utf-8")
        marks = ("[More Information Needed]", "[optional]", "TODO", "FIXME", "XXX", "TBD", "{{", "}}", "your-username")
        assert not [mark for mark in marks if mark in text]
        assert {"license", "library_name", "pipeline_tag", "tags"} <= set(card.front_matter(text))
        for heading in ("Load it", "Facts", "Training", "Limits"):
            assert f"\n## {heading}\n" in text

    @pytest.mark.parametrize("name", sorted(path.parent.name for path in SHIPPED.glob("*/model.safetensors")))
    def test_what_ships_loads_by_its_card_without_a_network(
        self, name: str, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing, "catalog_folder", lambda: SHIPPED)
        (tmp_path / name).symlink_to(SHIPPED / name)
        Image.fromarray(np.full((50, 50, 3), 90, np.uint8)).save(tmp_path / "photo.jpg")
        monkeypatch.chdir(tmp_path)
        snippets = re.findall(r"```python\n(.*?)```", (SHIPPED / name / "README.md").read_text(), re.DOTALL)
        assert len(snippets) == 2
        for snippet in snippets:
            exec(compile(snippet, "card", "exec"), {})  # noqa: S102  our own text

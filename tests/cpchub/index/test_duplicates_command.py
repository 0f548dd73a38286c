"""`cpchub duplicates` prints a table and writes a contact sheet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from cpchub.cli.main import main
from cpchub.index.near_threshold import cosine_text, threshold_reaching
from tests.cpchub.index.copies import photos, shrunk


class TestCommand:
    def test_a_folder_of_twins_with_the_bundled_encoder(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = photos(tmp_path / "photos", 6)
        shrunk(folder, 6)
        assert main(["duplicates", str(folder), "--show", str(tmp_path / "sheet.png")]) == 0
        said = capsys.readouterr()
        rows = list(csv.DictReader(io.StringIO(said.out)))
        assert list(rows[0]) == ["group", "path", "kind", "similarity", "difference", "width", "height", "size", "keep"]
        assert len(rows) == 12
        with Image.open(tmp_path / "sheet.png") as sheet:
            assert sheet.height > 6 * 144

    def test_no_sheet_is_written_without_groups(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = photos(tmp_path / "photos", 5)
        assert main(["duplicates", str(folder), "--show", str(tmp_path / "sheet.png")]) == 0
        assert not (tmp_path / "sheet.png").exists()
        assert "threshold" in capsys.readouterr().err.splitlines()[-2]

    def test_a_sheet_that_is_no_png_is_refused_before_any_work(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["duplicates", str(tmp_path), "--show", "sheet.jpg"]) != 0
        assert "does not end with .png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cosine", "text"), [(0.98, "0.9800"), (0.99996, "0.999960"), (1.0, "1.0000"), (0.3, "0.3000")]
)
def test_a_cosine_is_shown_so_that_it_is_told_from_one(cosine: float, text: str) -> None:
    assert cosine_text(cosine) == text
    assert 0 < float(threshold_reaching(cosine)) <= cosine

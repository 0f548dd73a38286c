"""A page comes up where a proxy knows nothing of this machine, where another user was first."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from cpchub.errors import OutputError
from cpchub_serving.page import uploads
from tests.serving.conftest import StartPage

NOBODY = "http://127.0.0.1:9"


def test_a_page_comes_up_behind_a_proxy_and_where_another_user_has_taken_gradios_folder(
    start_page: StartPage, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "gradio").write_text("not a folder, so that nobody may write there, whoever runs this")
    page = start_page(HTTP_PROXY=NOBODY, ALL_PROXY=NOBODY, TMPDIR=str(tmp_path / "shared"))
    with urllib.request.urlopen(page.url) as answer:
        assert answer.status == 200
    assert "Traceback" not in page.log


def test_a_folder_for_uploads_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "taken" / "uploads"))
    with pytest.raises(OutputError, match=f"cannot write {tmp_path / 'taken' / 'uploads'}"), uploads.own_uploads():
        pass

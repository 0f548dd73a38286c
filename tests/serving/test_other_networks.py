"""A page comes up where a proxy knows nothing of this machine, where another user was first, and on a busy machine."""

from __future__ import annotations

import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gradio.networking import url_ok

from cpchub.errors import OutputError
from cpchub_serving.page import loopback, stopping
from tests.loopback import answering
from tests.serving.conftest import StartPage


class Answering(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


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


def test_a_page_comes_up_on_a_machine_that_is_too_busy_to_answer_within_gradios_three_seconds(
    start_page: StartPage,
) -> None:
    page = start_page(SLOW_TO_ANSWER="1")
    with urllib.request.urlopen(page.url) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_gradio_finds_a_server_of_this_machine_whatever_proxy_is_set(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, NOBODY)
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Answering)) as url:
        assert not url_ok(f"{url}/")
        with loopback.asked_directly("127.0.0.1"):
            assert url_ok(f"{url}/")


@pytest.mark.parametrize("before", [None, "example.org"])
def test_the_environment_is_as_before(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if before is not None:
        monkeypatch.setenv("NO_PROXY", before)
    kept = dict(os.environ)
    with loopback.asked_directly("192.168.1.5"):
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
        direct = os.environ["no_proxy"].split(",")
        assert {"127.0.0.1", "localhost", "192.168.1.5"} <= set(direct)
        assert before is None or before in direct
    assert dict(os.environ) == kept


def test_a_folder_for_uploads_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "taken" / "uploads"))
    with pytest.raises(OutputError, match=f"cannot write {tmp_path / 'taken' / 'uploads'}"), stopping.own_uploads():
        pass

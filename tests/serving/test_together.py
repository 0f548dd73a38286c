"""The page and the API in one application: whose paths are whose, keys for both, and several collections."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cpchub.cli.main import main
from cpchub_serving.app import Access, Shown, build
from cpchub_serving.page.bounds import Bounded
from cpchub_serving.page.login import COOKIE
from cpchub_serving.process.keys import Keys
from tests.serving.conftest import Served

KEY, OTHER = "a-key-of-32-characters-or-so-000", "another-key-0000"
OF_THE_PAGE = ("/config", "/gradio_api/info", "/page/thumb/0", "/page/large/0", "/page/search/results", "/theme.css")


@pytest.fixture(scope="module")
def shown(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return Shown(served.index, served.encoder, thumbnails=tmp_path_factory.mktemp("thumbnails"))


def client_of(shown: list[Shown], *keys: str) -> TestClient:
    """A browser without cookies, at an application of its own."""

    async def built() -> Starlette:  # outside of a loop Gradio makes loops that it never closes
        return build(shown, Access(Keys(keys)))

    return TestClient(asyncio.run(built()), follow_redirects=False)


@pytest.fixture(scope="module")
def locked(shown: Shown) -> Iterator[TestClient]:
    with client_of([shown], KEY, OTHER) as client:
        yield client


@pytest.fixture(scope="module")
def several(shown: Shown) -> Iterator[TestClient]:
    with client_of([shown, shown]) as client:
        yield client


def test_the_page_and_the_api_answer_side_by_side(shown: Shown) -> None:
    with client_of([shown]) as client:
        assert "colours · cpchub" in client.get("/").text
        assert client.get("/healthz").json() == {"status": "ok", "images": 60}
        assert set(client.get("/openapi.json").json()["paths"]) >= {"/v1/search", "/v1/embeddings"}
        assert client.get("/v1/nothing").json()["error"]["code"] == 404
        assert "cpchub_requests_total" in client.get("/metrics").text


def test_the_page_of_paths_needs_no_other_host(shown: Shown) -> None:
    with client_of([shown]) as client:
        page = client.get("/docs").text
        files = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
        assert len(files) == 3
        assert not [file for file in files if "//" in file]
        assert [client.get(file).status_code for file in files] == [200, 200, 200]
        assert "security" not in client.get("/openapi.json").json()


def test_with_keys_the_paths_are_described_to_everybody_and_the_page_of_them_asks_for_a_key(locked: TestClient) -> None:
    assert locked.get("/docs").status_code == 200
    assert locked.get("/openapi.json").json()["security"] == [{"key": []}]
    assert locked.get("/docs-files/swagger-ui.css").status_code == 200
    assert locked.get("/docs-files/../v1/models").status_code == 401
    assert locked.get("/docs-files/..%2fv1/models").status_code != 200


def test_without_a_key_nothing_of_the_page_is_told(locked: TestClient) -> None:
    assert (locked.get("/favicon.ico").status_code, locked.get("/manifest.json").json()) == (204, {})
    for way in OF_THE_PAGE:
        answer = locked.get(way)
        assert (answer.status_code, "colours" in answer.text) == (401, False), way
    first = locked.get("/?q=id:3")
    assert (first.status_code, "This page needs a key" in first.text, "colours" in first.text) == (401, True, False)
    assert locked.get("/v1/models").status_code == 401
    assert locked.get("/healthz").status_code == 200


def test_a_visitor_writes_the_key_once_and_stays_at_the_address_that_was_asked_for(locked: TestClient) -> None:
    wrong = locked.post("/?q=id:3", data={"key": "not the key"})
    assert (wrong.status_code, COOKIE in wrong.cookies, "not a key of this page" in wrong.text) == (401, False, True)
    entered = locked.post("/?q=id:3", data={"key": f" {OTHER}\n"})
    assert (entered.status_code, entered.headers["location"]) == (303, "./?q=id:3")
    said = entered.headers["set-cookie"]
    assert OTHER not in said
    assert "HttpOnly" in said
    assert "SameSite=lax" in said
    assert "colours" in locked.get("/").text
    assert [locked.get(way).status_code for way in OF_THE_PAGE] == [200] * len(OF_THE_PAGE)
    locked.cookies.clear()
    assert locked.get("/", headers={"Cookie": f"{COOKIE}={entered.cookies[COOKIE]}0"}).status_code == 401


def test_a_program_sends_the_key_to_the_page_as_to_the_api(locked: TestClient) -> None:
    for way in ("/config", "/v1/models"):
        assert locked.get(way, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        assert locked.get(way, headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_an_address_that_sends_wrong_keys_has_to_wait(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of([shown, shown], KEY) as guesser:
        visitor = TestClient(guesser.app, client=("203.0.113.9", 5000), follow_redirects=False)
        known = {"Cookie": f"{COOKIE}={Keys([KEY]).ticket(KEY)}"}
        guesses = [guesser.post(f"/{name}/", data={"key": "no"}) for name in ("colours", "colours-2") for _ in range(4)]
        guesses += [guesser.get("/colours/config", headers={"Authorization": "Bearer no"}) for _ in range(2)]
        assert [answer.status_code for answer in guesses] == [401] * 10
        bearer = {"Authorization": f"Bearer {KEY}"}
        for refused in (guesser.post("/colours/", data={"key": KEY}), guesser.get("/colours/config", headers=bearer)):
            assert refused.status_code == 429  # the right one too: a guess is not answered
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert f"again in {refused.headers['retry-after']} seconds" in refused.text
        assert guesser.get("/colours/").status_code == 401  # the form itself
        assert guesser.get("/colours/config", headers=known).status_code == 200  # who is in stays in
        assert visitor.post("/colours/", data={"key": KEY}).status_code == 303
        now = time.time
        monkeypatch.setattr("time.time", lambda: now() + 61)
        assert guesser.post("/colours/", data={"key": KEY}).status_code == 303


def test_a_ticket_outlives_the_server_and_ends_with_its_key() -> None:
    ticket = Keys([KEY, OTHER]).ticket(KEY)
    assert Keys([KEY]).admits(ticket)
    assert not Keys([OTHER]).admits(ticket)
    assert not Keys([KEY]).admits("")
    assert not Keys().admits(ticket)


def test_what_is_no_form_with_a_key_does_not_open_the_page(locked: TestClient) -> None:
    for body in (b"", b"key=", b"a" * 100_000, b"\xff\xfe", f"other={KEY}".encode()):
        assert locked.post("/", content=body).status_code == 401
    assert locked.post("/gradio_api/queue/join", data={"key": KEY}).status_code == 401
    assert locked.delete("/").status_code == 401


def test_several_collections_have_a_page_and_an_api_each_and_a_menu(several: TestClient) -> None:
    assert several.get("/").headers["location"] == "./colours/"
    assert several.get("/?q=id:3").headers["location"] == "./colours/?q=id:3"
    assert several.get("/favicon.ico").status_code == several.get("/manifest.json").status_code == 200
    for name, other in (("colours", "colours-2"), ("colours-2", "colours")):
        menu = re.findall(r"href=\W+\.\./([\w-]+)/[^\w ]*( aria-current=page)?", several.get(f"/{name}/").text)
        assert dict(menu) == {name: " aria-current=page", other: ""}
        assert several.get(f"/{name}/healthz").json()["images"] == 60
        assert several.get(f"/{name}/page/thumb/0").status_code == 200
        assert several.get(f"/{name}/config").json()["root"].endswith(f"/{name}")
    assert several.get("/healthz").json()["images"] == 60


def test_with_keys_several_collections_ask_for_one_each_and_health_stays_open(shown: Shown) -> None:
    with client_of([shown, shown], KEY) as client:
        assert client.get("/colours/").status_code == client.get("/colours-2/config").status_code == 401
        entered = client.post("/colours-2/", data={"key": KEY})
        assert entered.headers["location"] == "./"
        assert client.get("/colours/").status_code == 200  # one ticket for all
        assert client.get("/colours/healthz").status_code == client.get("/healthz").status_code == 200
        assert client.get("/colours/v1/models").status_code == 401


def test_a_request_to_the_page_has_a_bound_whether_or_not_it_says_how_large_it_is(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bounded.__init__, "__kwdefaults__", {"most": 10_000})
    kind = {"Content-Type": "application/json"}
    with client_of([shown]) as client:
        for way in (
            "/gradio_api/queue/join",
            "/gradio_api/upload",
            "/page/search/upload",
            "/gradio_api/run/neighbours",
        ):
            said = client.post(way, content=b"[" * 10_001, headers=kind)
            chunked = client.post(way, content=(b"[" * 4000 for _ in range(3)), headers=kind)
            # Gradio does not begin to read an upload that is no form.
            assert (said.status_code, chunked.status_code) == (413, 400 if way == "/gradio_api/upload" else 413), way
        assert client.post("/gradio_api/run/neighbours", json={"data": [3, 2]}).status_code == 200
        assert client.post("/v1/search", json={"id": 3, "where": "x" * 20_000}).status_code == 400  # has its own


@pytest.mark.parametrize(("command", "port"), [("demo", "7999"), ("serve", "0")])
def test_a_door_that_is_open_to_other_machines_is_said_in_one_line(
    command: str, port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cpchub.cli.serving.Answering.loaded_heads", lambda _: sys.exit(0))
    monkeypatch.setattr("cpchub.collection.collection.Collection.open", lambda _: None)
    monkeypatch.setattr("cpchub_serving.process.port.check_port", lambda *_: None)
    said = "note: everybody who reaches 0.0.0.0 may ask, no key is needed; give --keys FILE\n"
    for keys, expected in (("", said), (KEY, "")):
        monkeypatch.setenv("CPCHUB_API_KEYS", keys)
        with pytest.raises(SystemExit):
            main([command, str(tmp_path), "--host", "0.0.0.0", "--port", port])
        assert capsys.readouterr().err == expected

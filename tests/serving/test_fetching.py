"""What can be fetched through a page: the images and thumbnails of its collection, and nothing else."""

from __future__ import annotations

import contextlib
import http.client
import json
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from fastapi.openapi.utils import get_openapi

import cpchub
from cpchub_serving.page import build
from cpchub_serving.page.context import Context
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.thumbnails import Thumbnails
from tests.loopback import answering
from tests.processes import PATIENCE
from tests.serving.conftest import StartPage
from tests.serving.visitors import post_upload

SECRET = "a secret of this machine"


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that no visitor may read."""
    file = tmp_path_factory.mktemp("private") / "secret.png"
    file.write_text(SECRET)
    return file


@pytest.fixture(scope="module")
def inner() -> Iterator[tuple[str, list[str]]]:
    """A server that only this machine reaches, and what it was asked for."""
    asked: list[str] = []

    class Inner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SECRET.encode())

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Inner)) as url:
        yield url, asked


def ask(page: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and text of an answer; the path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(page).port or 0, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.putrequest("GET" if body is None else "POST", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")


def join(page: str, event: dict[str, Any], data: list[Any]) -> str:
    """All that the page says to an event of its own."""
    session = uuid.uuid4().hex
    body = {"data": data, "fn_index": event["id"], "session_hash": session, "event_data": {"arg": "../../etc"}}
    status, said = ask(page, "/gradio_api/queue/join", json.dumps(body).encode(), Content_Type="application/json")
    if status != 200:
        return said
    return said + ask(page, f"/gradio_api/queue/data?session_hash={session}")[1]


def ways_to(file: Path) -> list[str]:
    """Addresses with which a visitor may hope to get a file of the machine."""
    place, up = file.as_posix(), "../" * 30
    starts = (
        "gradio_api/file=",
        "gradio_api/file/",
        "file=",
        "static/",
        "assets/",
        "svelte/",
        "page/",
        "page/thumb/",
        "",
    )
    targets = (
        place,
        up + place[1:],
        f"//{place}",
        f"file://{place}",
        quote(place, safe=""),
        quote(up + place, safe=""),
    )
    twice = quote(quote(place, safe=""), safe="")
    component = "gradio_api/custom_component/0/client/component/"
    odd = (f"gradio_api/file={place}%00.webp", f"gradio_api/file=\\{place}", component + up + place[1:])
    return [f"/{start}{target}" for start in starts for target in (*targets, twice)] + [f"/{each}" for each in odd]


def test_no_address_leads_to_another_file_of_the_machine(page_url: str, secret: Path) -> None:
    for way in ways_to(secret):
        status, text = ask(page_url, way)
        assert status >= 400, way
        assert SECRET not in text, way


def test_the_images_and_the_files_of_the_collection_are_no_addresses(page_url: str, served: Any) -> None:
    collection = served.index.collection
    for file in (served.images / collection.paths[0], collection.folder / "manifest.json", collection.folder):
        assert ask(page_url, f"/gradio_api/file={quote(str(file))}")[0] == 403


def test_a_link_out_of_the_folder_of_thumbnails_is_not_followed(start_page: StartPage, secret: Path) -> None:
    page = start_page()
    assert ask(page.url, "/page/thumb/0")[0] == 200
    made = next(page.folder.glob("cpchub/thumbnails/*/*.webp"))
    (made.parent / "link.webp").symlink_to(secret)
    (made.parent / "linked").symlink_to(secret.parent)
    for way in (made.parent / "link.webp", made.parent / "linked" / secret.name):
        status, text = ask(page.url, f"/gradio_api/file={way}")
        assert (status, SECRET in text) == (403, False)


@pytest.mark.parametrize("way", ["file=", "file/", "proxy="])
def test_no_address_makes_the_server_ask_another_one(page_url: str, inner: tuple[str, list[str]], way: str) -> None:
    url, asked = inner
    port = url.rpartition(":")[2]
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}", f"0.0.0.0:{port}", f"2130706433:{port}", "169.254.169.254")
    for host in (*hosts, f"[::ffff:127.0.0.1]:{port}", f"x@127.0.0.1:{port}", f"127.0.0.1:{port}#.hf.space"):
        for target in (f"http://{host}/latest/meta-data", quote(f"http://{host}/latest", safe=""), f"//{host}/x"):
            assert ask(page_url, f"/gradio_api/{way}{target}")[0] >= 400
    assert asked == []


def test_no_event_of_the_page_takes_a_file_of_the_machine_or_an_address(
    page_url: str, inner: tuple[str, list[str]], secret: Path
) -> None:
    url, asked = inner
    places = ({"path": str(secret)}, {"path": "a.png", "url": f"{url}/a.png"}, {"path": f"{url}/a", "url": f"{url}/a"})
    values = [{**place, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}} for place in places]
    config = json.loads(ask(page_url, "/config")[1])
    states = {each["id"] for each in config["components"] if each["type"] == "state"}
    tried = 0
    for event in config["dependencies"]:
        if not event["backend_fn"] or states.issuperset(event["inputs"]):
            continue
        for value in (*values, str(secret), f"{url}/a.png"):
            data = [None if number in states else value for number in event["inputs"]]
            assert SECRET not in join(page_url, event, data)
            tried += 1
    assert tried
    assert asked == []


def test_an_upload_lands_in_the_page_s_own_folder_whatever_its_name(start_page: StartPage, tmp_path: Path) -> None:
    page = start_page()
    for name in ("../../../../out.png", str(tmp_path / "out.png"), "..\\..\\out.png", "%2e%2e%2fout.png"):
        kept = post_upload(page.url, b"an image", name)
        assert kept.resolve().is_relative_to((page.folder / "temporary").resolve())
    assert not (tmp_path / "out.png").exists()


ODD_ROWS = (
    "-1",
    "60",
    "99999999999999999999",
    "1.5",
    "1e1",
    "0x1",
    "true",
    "NaN",
    "",
    "%00",
    "0%00",
    "..%2f..%2f",
    "a",
)


def test_an_odd_row_is_refused_wherever_the_page_takes_one(page_url: str) -> None:
    for row in ODD_ROWS:
        for way in ("thumb", "preview", "large"):
            status, text = ask(page_url, f"/page/{way}/{row}")
            assert 400 <= status < 500, (way, row, text)
        status, text = ask(page_url, f"/page/search/results?q=id:{row}")
        assert status < 500, (row, text)


def test_no_parameter_of_a_tab_s_addresses_leads_to_a_file_or_to_a_fault(
    page_url: str, served: Any, secret: Path, tmp_path: Path
) -> None:
    collection = served.index.collection
    finder = Finder(served.index, served.encoder)
    context = Context(finder, Thumbnails(collection, tmp_path), LabelSets(collection))
    values = [*ODD_ROWS, *map(quote, (str(secret), f"../..{secret}", "'", '"', "\\", "label == ", "x" * 3000))]
    asked = 0
    for tab in build.TABS:
        routes: list[Any] = tab.routes(context).routes if tab.routes is not None else []
        for route in routes:
            route.include_in_schema = True
        described = get_openapi(title="", version="", routes=routes)["paths"]
        for path, method, each in (
            (path, method, each)
            for path, methods in described.items()
            for method, operation in methods.items()
            for each in operation.get("parameters", ())
        ):
            for value in values:
                way = f"/page/{tab.id}{path}".replace(f"{{{each['name']}}}", value) + f"?{each['name']}={value}"
                status, text = ask(page_url, way, b"" if method == "post" else None)
                assert (status < 500, SECRET in text, str(collection.folder) in text) == (True, False, False), way
                asked += 1
    assert asked


def test_what_the_page_tells_a_browser_names_no_place_on_the_server(page_url: str, served: Any) -> None:
    told = [ask(page_url, way)[1] for way in ("/", "/config", "/gradio_api/info", "/page/large/0", "/openapi.json")]
    for place in (served.images.parent, Path(cpchub.__file__).parent, Path.home()):
        assert not [text for text in told if str(place) in text]

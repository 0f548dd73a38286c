"""The page as a server: what it hands out, what it keeps to itself, and what programs can ask."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest

from cpchub.cli.main import main
from cpchub.collection.collection import Collection
from cpchub.errors import ArgumentError
from cpchub_serving import app
from cpchub_serving.app import Access, serve
from tests.processes import PATIENCE
from tests.serving.visitors import post_upload


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_page_names_the_collection_and_loads_nothing_from_elsewhere(page_url: str) -> None:
    with urllib.request.urlopen(page_url, timeout=PATIENCE) as answer:
        page = answer.read().decode()
    assert "colours · cpchub" in page
    assert not re.search(r"<(?:script|link)[^>]+(?:src|href)=[\"']https?://(?!127\.0\.0\.1)", page)


def test_thumbnails_are_served_and_the_images_themselves_are_not(page_url: str, served) -> None:
    assert status(f"{page_url}page/thumb/0") == 200
    original = served.images / served.index.collection.paths[0]
    assert status(f"{page_url}gradio_api/file={quote(str(original))}") == 403


def ask(page_url: str, *arguments: object) -> str:
    """Call the endpoint as any HTTP client would: post the arguments, then read the event's stream."""
    endpoint = f"{page_url}gradio_api/call/neighbours"
    body = json.dumps({"data": arguments}).encode()
    request = urllib.request.Request(endpoint, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{endpoint}/{event}", timeout=PATIENCE) as stream:
        return stream.read().decode()


def test_a_program_can_ask_for_neighbours(page_url: str) -> None:
    answer = ask(page_url, 3, 5)
    assert "event: complete" in answer
    found = json.loads(answer.split("data: ", 1)[1])[0]
    assert len(found) == 5
    assert found[0]["score"] >= found[4]["score"]
    assert set(found[0]) == {"row", "picture", "score"}


def test_gradios_own_client_takes_the_answer_as_it_is(page_url: str) -> None:
    from gradio_client import Client

    client = Client(page_url, verbose=False)
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/neighbours"]
    found = client.predict(3, 2, api_name="/neighbours")
    assert found == json.loads(ask(page_url, 3, 2).split("data: ", 1)[1])[0]


def test_a_row_that_is_not_there_is_answered_in_words(page_url: str) -> None:
    answer = ask(page_url, 1000, 5)
    assert "event: error" in answer
    assert "no row 1000" in answer


def test_an_answer_to_a_program_never_names_a_place_on_the_server(page_url: str, shown: Path) -> None:
    assert str(shown) not in ask(page_url, -1, 5)


@pytest.mark.parametrize("arguments", [(3.7, 5), (True, 5), ("3", 5), ([3], 5), (None, 5), (3, 2.5), (3, None)])
def test_what_is_not_a_whole_number_is_refused_in_words(page_url: str, arguments: tuple[object, ...]) -> None:
    answer = ask(page_url, *arguments)
    assert "event: error" in answer
    assert "a whole number is needed" in answer


def test_more_neighbours_than_the_page_gives_are_refused_in_words(page_url: str) -> None:
    answer = ask(page_url, 3, 101)
    assert "event: error" in answer
    assert "k=101" in answer
    assert "at most 100" in answer
    assert "event: complete" in ask(page_url, 3, 100)


def test_an_upload_that_is_too_large_is_refused(page_url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        post_upload(page_url, bytes(31 * 2**20))
    with refused.value as error:
        assert error.code == 413


def test_without_a_name_the_encoder_is_the_one_that_the_manifest_says(served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Stop(Exception):
        pass

    def note(name: str) -> None:
        asked.append(name)
        raise Stop

    monkeypatch.setattr("cpchub.encoders.load.load", note)
    recorded = {"name": "tiny", "folder": None, "repo_id": "lab/tiny", "revision": "a" * 40}
    read = Collection.open

    def from_the_hub(folder: Path) -> Collection:
        collection = read(folder)
        collection.manifest["encoder"] |= recorded
        return collection

    monkeypatch.setattr(Collection, "open", from_the_hub)
    with pytest.raises(Stop):
        serve(served.index.collection.folder)
    assert asked == [f"lab/tiny@{'a' * 40}"]


def test_a_port_that_is_taken_is_one_clear_error(page_url: str, served) -> None:
    port = int(page_url.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(ArgumentError, match=str(port)):
        serve(Path(served.index.collection.folder), encoder=served.encoder, port=port)


def test_image_files_leave_the_page_only_where_the_command_says_so(
    served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[bool] = []

    def build_only(_: object, *, access: Access, **__: object) -> None:
        app.build([app.Shown(served.index, served.encoder, thumbnails=tmp_path)], access)

    monkeypatch.setattr(app, "add_page", lambda _, context, *__: allowed.append(context.allow_download))
    monkeypatch.setattr(app, "serve", build_only)
    monkeypatch.setattr("cpchub_serving.process.stops.leave_process", lambda _: None)
    for options in ([], ["--allow-download"]):
        assert main(["demo", str(served.index.collection.folder), *options]) == 0
    assert allowed == [False, True]


def test_no_click_is_forgotten_while_the_one_before_is_answered(page_url: str) -> None:
    with urllib.request.urlopen(f"{page_url}config", timeout=PATIENCE) as answer:
        config = json.load(answer)
    ours = {component["id"] for component in config["components"] if component["type"] == "html"}
    clicks = [
        (event, dependency["trigger_mode"])
        for dependency in config["dependencies"]
        for target, event in dependency["targets"]
        if target in ours and event not in ("change", "load")
    ]
    assert len(clicks) > 10
    assert [event for event, mode in clicks if mode != "multiple"] == []


def test_an_answer_that_was_left_behind_comes_with_the_next_look(page_url: str) -> None:
    """Gradio's browser side may miss the end of its stream of answers; an event that is always sent opens another."""
    with urllib.request.urlopen(f"{page_url}config", timeout=PATIENCE) as answer:
        config = json.load(answer)
    running = {
        component["id"]
        for component in config["components"]
        if component["type"] == "timer" and component["props"]["active"]
    }
    ticks = [
        dependency["trigger_mode"]
        for dependency in config["dependencies"]
        for target, _ in dependency["targets"]
        if target in running
    ]
    assert ticks == ["multiple"]

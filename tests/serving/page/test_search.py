"""The addresses of the Search tab: results page by page, filters, paths, uploads, downloads."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cpchub_serving.page.search import routes as search
from cpchub_serving.visit.searching import PAGE, Searches
from tests.serving.page.conftest import MakeClient


def ask(client: TestClient, path: str, **fields: Any) -> Any:
    answer = client.get(f"/page/search/{path}", params=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any) -> str:
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]["message"]


def shown(html: str) -> list[int]:
    """The rows of tiles in sight."""
    return [int(row) for row in re.findall(r'data-id="\d+"><button [^>]*data-large="(\d+)"', html)]


def test_the_collection_comes_page_by_page_each_image_once(client: TestClient) -> None:
    first = ask(client, "results", facets_too=True)
    second = ask(client, "results", start=first["next"])
    assert len(shown(first["tiles"])) == PAGE
    assert sorted(shown(first["tiles"]) + shown(second["tiles"])) == list(range(60))
    assert second["next"] is None
    assert "heading" not in second
    assert "The collection" in first["heading"]
    for said in ("tiny", "60", "exact", "recall@10", "ms"):
        assert said in first["status"]


def test_results_come_in_pages_until_there_are_as_many_as_wanted(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Searches, "alike_from", 2)  # fold nothing
    found = ask(client, "results", q="id:3", k=50)
    more = ask(client, "results", q="id:3", k=50, start=found["next"])
    rows = shown(found["tiles"]) + shown(more["tiles"])
    assert len(set(rows)) == 50
    assert 3 not in rows
    assert more["next"] is None
    assert 'data-act="results" data-arg="24"' in found["heading"]


def test_a_visitor_who_comes_back_gets_what_was_on_the_page_at_once(client: TestClient) -> None:
    assert len(shown(ask(client, "results", count=60)["tiles"])) == 60


def test_near_duplicates_lie_hidden_under_the_first_of_them(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Searches, "alike_from", -1)
    found = ask(make_client(), "results", q="id:3", k=12)
    assert len(shown(found["tiles"])) == 1
    assert found["tiles"].count('data-under="0" hidden') == 11
    assert ">12 alike</button>" in found["tiles"]
    assert "folded" in found["heading"]


def test_the_filter_is_marked_in_its_values_and_each_carries_the_filter_that_a_click_makes(client: TestClient) -> None:
    found = ask(client, "results", where="label == 'red'", facets_too=True)
    assert len(shown(found["tiles"])) == 20
    pressed = re.findall(r'data-where="([^"]*)" data-value="(\w+)" aria-pressed="(\w+)"', found["facets"])
    labels = [(where, value, on) for where, value, on in pressed if "/" not in value]
    assert labels == [
        ("label in (&#x27;red&#x27;, &#x27;blue&#x27;)", "blue", "false"),
        ("label in (&#x27;red&#x27;, &#x27;green&#x27;)", "green", "false"),
        ("", "red", "true"),
    ]
    assert "20 images of 60 fit the filter" in found["heading"]


def test_a_range_is_written_into_the_filter(client: TestClient) -> None:
    size = {"column": "size", "where": "label == 'red'", "low": 10}
    assert ask(client, "narrow", **size) == {"where": "label == 'red' and size >= 10"}
    assert "no column" in refused(client.get("/page/search/narrow", params={"column": "sha256", "low": 1}))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"where": "label = 'red'"}, "not understood"),
        ({"where": "colour == 'red'"}, "no column 'colour'"),
        ({"q": "id:999"}, "no image with id 999"),
        ({"q": "row:3"}, "id:42"),
    ],
)
def test_what_is_not_understood_is_said_in_words(client: TestClient, fields: dict[str, str], said: str) -> None:
    assert said in refused(client.get("/page/search/results", params=fields))


def test_a_filter_that_no_image_fits_says_what_to_do(client: TestClient) -> None:
    found = ask(client, "results", where="width > 10000")
    assert "No image fits" in found["tiles"]
    assert "No image fits" in ask(client, "results", q="id:3", where="width > 10000")["tiles"]


def test_a_path_is_found_or_the_nearest_are_named(client: TestClient, served: Any) -> None:
    row = served.index.collection.paths.index("red/red-03.png")
    item = served.index.items["id"][row].as_py()
    assert ask(client, "find", text="red/red-03.png") == {"q": f"id:{item}"}
    near = ask(client, "find", text="rad-03.png")
    assert "rad-03.png" in near["said"]
    assert "red/red-03.png" in near["nearest"]
    assert ask(client, "offer", text="red-03") == ["red/red-03.png"]


def test_an_upload_is_searched_with_and_named_in_the_bar(client: TestClient, served: Any) -> None:
    content = (served.images / "red" / "red-03.png").read_bytes()
    answer = client.post("/page/search/upload", params={"name": "<b>mine.png"}, content=content)
    found = ask(client, "results", q=answer.json()["q"])
    assert served.index.collection.paths[shown(found["tiles"])[0]] == "red/red-03.png"
    assert "&lt;b&gt;mine.png" in found["query"]
    assert "encoded in" in found["status"]
    address = re.search(r'src="(page/search/upload/\w+)"', found["query"])
    assert address is not None
    small = client.get(f"/{address[1]}")
    assert small.headers["content-type"] == "image/webp"
    assert client.get("/page/search/upload/0000").status_code == 404


def test_an_upload_that_is_no_image_or_too_large_is_refused_in_words(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not an image" in refused(client.post("/page/search/upload", content=b"<script>"))
    assert "empty" in refused(client.post("/page/search/upload", content=b""))
    monkeypatch.setattr(search, "LARGEST_UPLOAD", 1000)
    assert "larger than" in refused(client.post("/page/search/upload", content=bytes(2000)))


def test_results_are_downloaded_as_a_table(client: TestClient) -> None:
    answer = client.get("/page/search/results.csv", params={"q": "id:3", "k": 24})
    assert answer.headers["content-disposition"] == 'attachment; filename="results.csv"'
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) == 24


def test_images_are_handed_out_only_where_that_was_allowed(make_client: MakeClient, served: Any) -> None:
    fields = {"where": "label == 'red'"}
    closed, open_ = make_client(), make_client(allow_download=True)
    for path in ("originals", "originals.zip"):
        assert "--allow-download" in refused(closed.get(f"/page/search/{path}", params=fields))
    assert "originals" not in ask(closed, "results")["heading"]
    assert "originals.zip" in ask(open_, "results")["heading"]
    assert ask(open_, "originals", **fields) == {"images": 20}
    with zipfile.ZipFile(io.BytesIO(open_.get("/page/search/originals.zip", params=fields).content)) as archive:
        assert sorted(archive.namelist()) == [f"red/red-{number:02}.png" for number in range(20)]


def test_the_large_view_gets_path_columns_and_neighbours(client: TestClient, served: Any) -> None:
    found = client.get("/page/large/5").json()
    assert found["path"] == served.index.collection.paths[5]
    assert found["image"].startswith("page/preview/5?v=")
    assert "160 × 120" in found["facts"]
    assert found["neighbours"].count("data-large=") == 12
    assert refused(client.get("/page/large/60")).startswith("There is no image")


def test_no_answer_names_a_place_on_this_machine(client: TestClient, served: Any) -> None:
    folder = str(served.index.collection.folder.parent)
    for path in (
        "search/results?q=id:3",
        "search/results?q=id:99",
        "search/results.csv",
        "large/3",
        "search/find?text=x",
    ):
        assert folder not in client.get(f"/page/{path}").text

"""The small copies and the scripts over HTTP: what is handed out, and what browsers may keep."""

from __future__ import annotations

import io

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from cpchub_serving.page.scripts import PAGE, start


def test_a_small_copy_is_made_when_it_is_asked_for_and_kept_by_the_browser_for_good(client: TestClient) -> None:
    address = client.get("/page/search/results").json()["tiles"].split('src="', 1)[1].split('"', 1)[0]
    answer = client.get(f"/{address}")
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("WEBP", (160, 120))
    again = client.get(f"/{address}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_without_the_version_of_the_image_the_browser_has_to_ask_again(client: TestClient) -> None:
    for address in ("/page/thumb/3", "/page/thumb/3?v=00000000", "/page/preview/3"):
        assert client.get(address).headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("row", ["-1", "60", "x", "../app.py", "%2e%2e%2fapp.py", "3/../../app.py"])
def test_nothing_but_rows_of_the_collection_is_handed_out(client: TestClient, row: str) -> None:
    assert client.get(f"/page/thumb/{row}").status_code in (404, 422)


def test_an_image_that_is_gone_is_not_found_and_may_come_back(client: TestClient, served, tmp_path) -> None:
    path = served.index.collection.path_of(11)
    path.rename(tmp_path / "away.png")
    try:
        answer = client.get("/page/thumb/11")
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    finally:
        (tmp_path / "away.png").rename(path)
    assert client.get("/page/thumb/11").status_code == 200


def test_every_script_of_the_page_is_handed_out_and_nothing_else(client: TestClient) -> None:
    scripts = [path.relative_to(PAGE).as_posix() for path in PAGE.glob("*/*.js")]
    assert "search/search.js" in scripts
    for name in scripts:
        answer = client.get(f"/page/script/{name}")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        again = client.get(f"/page/script/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    for name in ("search/tab.py", "search/search.css", "search/..%2fcontext.py", "nothing/here.js"):
        assert client.get(f"/page/script/{name}").status_code == 404


def test_a_component_imports_its_script_relative_to_the_page() -> None:
    assert 'new URL("page/script/search/search.js", document.baseURI)' in start("search/search.js")

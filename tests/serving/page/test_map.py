"""What the script of the Map tab is sent: the state, points and colours as bytes, tiles by their rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cpchub.errors import CpchubError
from cpchub.index import Index
from cpchub_serving.api import failures
from cpchub_serving.page.context import Context
from cpchub_serving.page.map import routes as maps
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.plane import FINE
from cpchub_serving.visit.thumbnails import Thumbnails
from tests.processes import wait_for
from tests.serving.conftest import Served


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The addresses of the map alone, over a collection that may be written to."""
    folder: Path = tmp_path_factory.mktemp("map") / "collection"
    shutil.copytree(served.index.collection.folder, folder)
    index = Index.open(folder)
    thumbnails = Thumbnails(index.collection, folder.parent / "thumbnails")
    context = Context(Finder(index, served.encoder), thumbnails, LabelSets(index.collection))
    app = FastAPI()
    app.add_exception_handler(CpchubError, failures.bad_input)
    app.include_router(maps.routes(context), prefix="/page/map")
    client = TestClient(app)
    wait_for(lambda: client.get("/page/map/state").json()["state"] == "done", "the map is not made")
    return client


def test_the_points_are_all_there_within_their_square(client: TestClient) -> None:
    state = client.get("/page/map/state").json()
    assert (state["count"], state["version"], state["error"]) == (60, "tsne", "")
    places = np.frombuffer(client.get("/page/map/points").content, "<u2").reshape(-1, 2)
    assert len(places) == 60
    assert max(places.max(axis=0) - places.min(axis=0)) == FINE


def test_colours_come_with_their_legend(client: TestClient) -> None:
    content = client.get("/page/map/colours", params={"by": "column:label"}).content
    length = int.from_bytes(content[:4], "little")
    legend, codes = json.loads(content[4 : 4 + length]), np.frombuffer(content[4 + length :], "<u2")
    assert [entry["name"] for entry in legend["entries"]] == ["blue", "green", "red"]
    assert np.bincount(codes).tolist() == [20, 20, 20]


def test_tiles_are_those_that_were_asked_for(client: TestClient) -> None:
    tiles = client.get("/page/map/tiles", params={"rows": "59,0"}).json()
    assert [tile["name"].split("/")[0] for tile in tiles] == ["red", "blue"]
    assert all(tile["image"].startswith("page/thumb/") for tile in tiles)
    assert 'data-large="59"' in tiles[0]["html"]


@pytest.mark.parametrize(
    "path", ["tiles?rows=60", "tiles?rows=../../etc/passwd", "tiles?rows=", "colours?by=column:path", "colours?by=x"]
)
def test_what_is_not_there_is_refused_in_words(client: TestClient, path: str) -> None:
    answer = client.get(f"/page/map/{path}")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]

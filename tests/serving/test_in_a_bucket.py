"""The page and the API of a collection that lies in a bucket answer as those of a local one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import fsspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cpchub.index import Index
from cpchub_serving.app import Access, Shown, build
from tests.cpchub.buckets import another_machine, files_at
from tests.serving.conftest import Served


def test_the_page_and_the_api_answer_and_write_nothing_into_the_bucket(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_machine(monkeypatch, tmp_path)
    place = "memory://of-the-page/colours"
    fsspec.filesystem("memory").put(f"{served.index.collection.folder}/", place, recursive=True)
    before = files_at(place)
    answers = []
    for index in (Index.open(place), Index.open(served.index.collection.folder)):
        shown = Shown(index, served.encoder, {}, tmp_path / "thumbnails")

        async def built(shown: Shown = shown) -> Starlette:  # outside of a loop Gradio makes loops that it never closes
            return build([shown], Access())

        with TestClient(asyncio.run(built())) as client:
            assert client.get("/").status_code == 200
            assert client.get("/page/thumb/3").status_code == 200
            answer = client.post("/v1/search", json={"id": 3, "k": 4})
            answers.append((answer.status_code, answer.json()["data"]))
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    assert files_at(place) == before

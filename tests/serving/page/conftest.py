"""What the scripts of the page ask the server for, called without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cpchub.errors import CpchubError
from cpchub_serving.api import failures
from cpchub_serving.page import scripts, thumbs
from cpchub_serving.page.context import Context
from cpchub_serving.page.large import routes as large
from cpchub_serving.page.search import routes as search
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.label_sets import LabelSets
from cpchub_serving.visit.thumbnails import Thumbnails

MakeClient = Callable[..., TestClient]


@pytest.fixture
def make_client(served: Any, tmp_path: Path) -> MakeClient:
    """Makes a client of the routes of one collection, by default of the coloured images."""

    def make(*, allow_download: bool = False, served: Any = served) -> TestClient:
        finder = Finder(served.index, served.encoder)
        collection = served.index.collection
        small = Thumbnails(collection, tmp_path / "small")
        context = Context(finder, small, LabelSets(collection), allow_download)
        app = FastAPI(openapi_url=None)
        app.add_exception_handler(CpchubError, failures.bad_input)
        app.include_router(scripts.routes())
        app.include_router(thumbs.routes(context))
        app.include_router(search.routes(context), prefix="/page/search")
        app.include_router(large.routes(context), prefix="/page/large")
        return TestClient(app)

    return make


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client()

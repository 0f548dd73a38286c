"""The stores that an index may be in. What is asked of FAISS is asked of Milvus too, by Milvus Lite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cpchub.index.stores import FAISS, ended, milvus_in


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store in Milvus Lite, which the tests of a file share. It takes a second to start."""
    store = milvus_in(tmp_path_factory.mktemp("milvus"))
    yield store
    ended(store)


@pytest.fixture(scope="module", params=["faiss", "milvus"])
def store(request: pytest.FixtureRequest) -> str:
    """Each store, as `Index.build` takes it."""
    return FAISS if request.param == "faiss" else request.getfixturevalue("milvus")

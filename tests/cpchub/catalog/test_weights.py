"""Where the weights of an encoder come from is said in a few words, for every entry of the catalog."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cpchub.catalog.listing import get_spec, list_specs
from cpchub.catalog.spec import WEIGHTS, FileRecord
from cpchub.catalog.weights import where_the_weights_are

FETCHED = re.compile(r"to be fetched(: [\d,]+ MB)?, from [\w.-]+\.[a-z]+")


@pytest.mark.usefixtures("empty_cache")
def test_at_least_35_have_weights_and_each_says_licence_source_and_the_size_if_it_is_stated() -> None:
    specs = [spec for spec in list_specs() if spec.status in ("public", "bundled", "hub")]
    assert len(specs) >= 35
    assert [spec.name for spec in specs if not spec.license] == []
    public = {spec.name: where_the_weights_are(spec) for spec in specs if spec.status == "public"}
    assert {name: words for name, words in public.items() if not FETCHED.fullmatch(words)} == {}


@pytest.mark.usefixtures("empty_cache")
def test_each_kind_of_entry_has_its_words() -> None:
    assert where_the_weights_are(get_spec("simclr-resnet18-w32-cifar10-cpu")) == "in the package"
    assert where_the_weights_are(get_spec("cpc-resnet170")) == "none yet"
    released = replace(
        get_spec("cpc-resnet170"), status="hub", folder=None, files={WEIGHTS: FileRecord("0" * 64, 44_700_000)}
    )
    assert where_the_weights_are(released) == "to be fetched: 45 MB, from the Hub"
    assert where_the_weights_are(replace(released, files={}), host=False) == "to be fetched"


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: str) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path))

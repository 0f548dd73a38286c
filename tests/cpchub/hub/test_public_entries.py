"""Entries of the catalog from end to end in their full size: one of each network in each layout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import cpchub
from cpchub.catalog import listing
from cpchub.catalog.origin import ORIGIN
from cpchub.catalog.spec import ModelSpec
from tests.cpchub.foreign_checkpoints import trained
from tests.cpchub.importers.google_names import numbered
from tests.cpchub.official_layouts import LAYOUTS
from tests.cpchub.published import bundle, saved
from tests.loopback_files import FileServer, asked_for, loopback_files

REAL_CATALOG = listing.catalog_folder()
MOST_PARAMETERS = 50e6  # of an entry that is tried here: a checkpoint of 200 MB


def representatives() -> dict[str, ModelSpec]:
    """The first entry of each network in each layout, by its name, of those whose authors publish no checksum."""
    found: dict[str, ModelSpec] = {}
    for path in sorted(REAL_CATALOG.glob(f"*/{ORIGIN}")):
        spec = ModelSpec.from_folder(path.parent, status="public")
        parameters = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["cpchub"]["parameters"]
        assert spec.origin is not None
        checked = any(file.md5_prefix or file.sha256 for file in spec.origin.sources[0].files)
        if parameters <= MOST_PARAMETERS and not checked:
            key = json.dumps([spec.origin.sources[0].format, spec.architecture, spec.model_args])
            found.setdefault(key, spec)
    return {spec.name: spec for spec in found.values()}


ENTRIES = representatives()


@pytest.fixture
def server(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(listing, "catalog_folder", lambda: REAL_CATALOG)
    with loopback_files() as files:
        monkeypatch.setenv("CPCHUB_MIRROR", files.url)
        yield files


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_it_is_fetched_once_and_is_the_network_of_its_config(name: str, server: FileServer) -> None:
    assert_loads(ENTRIES[name], server)


def assert_loads(spec: ModelSpec, server: FileServer) -> None:
    network = trained(timm.create_model(spec.architecture, pretrained=False, **{**spec.model_args, "num_classes": 0}))
    assert spec.origin is not None
    source = spec.origin.sources[0]
    addresses = [asked_for(file.address) for file in source.files]
    server.files = dict(zip(addresses, official_files(source.format, network), strict=True))
    encoder = cpchub.load(spec.name)
    assert server.asked == addresses
    assert (encoder.spec.name, encoder.spec.license) == (spec.name, spec.license)
    assert encoder.spec.transform == spec.transform
    x = torch.rand(1, *spec.input_size, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert torch.equal(encoder(x), network(x))
    cpchub.load(spec.name)
    assert server.asked == addresses, "the second load asked again"


def official_files(format_name: str | None, network: nn.Module) -> list[bytes]:
    """The files of the authors, as their code would have written these weights."""
    if format_name == "google-simclr":
        return list(bundle(numbered(network)).values())
    assert format_name is not None
    return [saved(nested(LAYOUTS[format_name](network.state_dict())))]


def nested(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A dictionary in a dictionary for each slash of a name."""
    content: dict[str, Any] = {}
    for name, value in tensors.items():
        *folders, last = name.split("/")
        place = content
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return content

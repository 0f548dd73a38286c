"""Entries of the catalog from end to end in their full size: one of each network in each layout.

`EVERY_ENTRY=1` tries all, which takes most of an hour and, for the largest, 20 GB of memory.
"""

from __future__ import annotations

import json
import os
import shutil
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


def to_try() -> dict[str, ModelSpec]:
    """The first entry of each network in each layout, by its name, without the largest; or all that there are."""
    found: dict[str, ModelSpec] = {}
    for path in sorted(REAL_CATALOG.glob(f"*/{ORIGIN}")):
        spec = ModelSpec.from_folder(path.parent, status="public")
        parameters = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["cpchub"]["parameters"]
        assert spec.origin is not None
        if os.environ.get("EVERY_ENTRY"):
            found[spec.name] = spec
        elif parameters <= MOST_PARAMETERS:
            found.setdefault(json.dumps([spec.origin.sources[0].format, spec.architecture, spec.model_args]), spec)
    return {spec.name: spec for spec in found.values()}


ENTRIES = to_try()


@pytest.fixture
def server(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with loopback_files() as files:
        monkeypatch.setenv("CPCHUB_MIRROR", files.url)
        yield files


def add_unchecked(name: str) -> None:
    """Put an entry into the test's own catalog, without the checksums that only the authors' weights have."""
    folder = listing.catalog_folder() / name
    shutil.copytree(REAL_CATALOG / name, folder)
    origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    for source in origin["sources"]:
        for file in source["files"]:
            file |= {"md5_prefix": None, "sha256": None, "size": None}
    (folder / ORIGIN).write_text(json.dumps(origin), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_it_is_fetched_once_and_is_the_network_of_its_config(name: str, server: FileServer) -> None:
    add_unchecked(name)
    spec = ENTRIES[name]
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

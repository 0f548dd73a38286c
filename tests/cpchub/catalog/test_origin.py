"""Every public entry is complete, and what it says of the network is what the importer makes of the authors' layout."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from cpchub.catalog import listing
from cpchub.catalog.listing import canonical
from cpchub.catalog.origin import ORIGIN, Origin
from cpchub.catalog.spec import ModelSpec, read_json
from cpchub.cli.main import main
from cpchub.encoders import model_folder
from cpchub.errors import ModelFolderError
from cpchub.importers.format import Conversion
from cpchub.importers.formats.registry import FORMATS
from tests.cpchub.official_layouts import plan

REAL_CATALOG = listing.catalog_folder()
FOLDERS = {path.parent.name: path.parent for path in sorted(REAL_CATALOG.glob(f"*/{ORIGIN}"))}
FILE = {"name": "a.pth", "address": "https://authors.example/a.pth"}
ORIGIN_JSON = {"citation": "the paper", "links_read": "2026-11-28", "sources": [{"format": "moco", "files": [FILE]}]}


def weighed(name: str) -> Any:
    """The deep ones take seconds to build, even without numbers."""
    marks = [pytest.mark.slow] if re.search("resnet(1[05]|200)|-sk$", name) else []
    return pytest.param(name, marks=marks, id=name)


@pytest.fixture(scope="module", params=map(weighed, FOLDERS))
def entry(request: pytest.FixtureRequest) -> ModelSpec:
    return ModelSpec.from_folder(FOLDERS[request.param], status="public")


def origin_of(entry: ModelSpec) -> Origin:
    assert entry.origin is not None
    return entry.origin


def test_there_are_many() -> None:
    assert len(FOLDERS) >= 35


def test_models_lists_each_with_its_size_its_licence_and_where_it_comes_from(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listing, "catalog_folder", lambda: REAL_CATALOG)
    assert main(["models", "--status", "public"]) == 0
    rows = {columns[0]: columns for columns in (line.split("\t") for line in capsys.readouterr().out.splitlines())}
    assert sorted(rows) == sorted(FOLDERS)
    for columns in rows.values():
        assert columns[-2]
        assert re.fullmatch(r"to be fetched(: [\d,]+ MB)?, from [\w.-]+", columns[-1])


def test_no_two_entries_share_a_name() -> None:
    specs = [ModelSpec.from_folder(path.parent) for path in REAL_CATALOG.glob("*/config.json")]
    names = Counter(canonical(name) for spec in specs for name in (spec.name, *spec.aliases))
    assert [name for name, count in names.items() if count > 1] == []


def test_its_sources_have_known_importers_and_addresses_that_stay_the_same(entry: ModelSpec) -> None:
    origin = origin_of(entry)
    for source in origin.sources:
        assert source.format is None or source.format in {each.name for each in FORMATS}
        assert source.known_from
        for file in source.files:
            if "huggingface.co" in file.address:
                assert re.search(r"/resolve/[0-9a-f]{7,40}/", file.address), "a branch may change"
            if "dropbox.com" in file.address:
                assert file.address.endswith("?dl=1"), "without it, Dropbox gives a page"
    assert entry.license
    assert origin.citation
    assert entry.name in FOLDERS


def test_what_was_published_has_a_source_and_counts_as_no_measurement(entry: ModelSpec) -> None:
    assert entry.folder is not None
    rows = read_json(entry.folder / "eval.json")["results"]
    assert rows
    for row in rows:
        assert row["published"] is True
        assert row["source"]
        assert row["source_url"].startswith("https://")
        assert 0 < row["value"] < 1


def test_its_config_builds_the_network(entry: ModelSpec) -> None:
    assert length_of_vectors(entry.architecture, json.dumps(entry.model_args)) == entry.dim


@functools.cache
def length_of_vectors(architecture: str, model_args: str) -> int:
    with torch.device("meta"):
        network: Any = timm.create_model(architecture, pretrained=False, **json.loads(model_args))
    return int(getattr(network, "head_hidden_size", network.num_features))


def test_its_config_is_what_the_importer_makes_of_the_official_layout(entry: ModelSpec) -> None:
    source = origin_of(entry).sources[0]
    assert source.format is not None
    made = planned(source.format, entry.architecture, json.dumps(entry.model_args), json.dumps(source.claims))
    assert (made.architecture, {**made.model_args, "num_classes": 0}) == (entry.architecture, entry.model_args)
    facts = made.facts
    assert (facts.input_size, facts.mean, facts.std) == (entry.input_size, entry.mean, entry.std)
    assert (facts.interpolation, facts.crop_pct) == (entry.interpolation, entry.crop_pct)


@functools.cache  # most entries are the same network in the same layout
def planned(format_name: str, architecture: str, model_args: str, claims: str) -> Conversion:
    return plan(format_name, architecture, json.loads(model_args), json.loads(claims))


def test_its_card_is_rendered_from_its_files(entry: ModelSpec, tmp_path: Path) -> None:
    assert entry.folder is not None
    for path in entry.folder.iterdir():
        if path.name != "README.md":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    model_folder.render_card(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == (entry.folder / "README.md").read_text("utf-8")


class TestBrokenOrigin:
    def test_a_whole_one_is_read(self) -> None:
        origin = Origin.of(ORIGIN_JSON, Path(ORIGIN))
        assert origin.sources[0].files[0].address == FILE["address"]
        assert origin.sources[0].size_in_words == "size not stated"

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"sources": []}, "empty list"),
            ({"sources": 3}, "not iterable"),
            ({"sources": None}, "not iterable"),
            ({"links_read": "yesterday"}, "isoformat"),
            ({"page": "http://authors.example"}, "begins with https"),
        ],
    )
    def test_a_value_of_another_form_is_named(self, change: dict[str, Any], said: str) -> None:
        with pytest.raises(ModelFolderError, match=f"origin.json does not say where a checkpoint is: .*{said}"):
            Origin.of(ORIGIN_JSON | change, Path(ORIGIN))

    @pytest.mark.parametrize("field", sorted(ORIGIN_JSON))
    def test_a_value_that_is_missing_is_named(self, field: str) -> None:
        content = {name: value for name, value in ORIGIN_JSON.items() if name != field}
        with pytest.raises(ModelFolderError, match=f"it has no '{field}'"):
            Origin.of(content, Path(ORIGIN))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"address": "http://authors.example/a.pth"}, "begins with https"),
            ({"address": "https://me:secret@authors.example/a.pth"}, "holds no user"),
            ({"address": None}, "an address is None"),
            ({"name": "../a.pth"}, "without folders"),
            ({"name": ""}, "without folders"),
            ({"size": "12"}, "number of bytes"),
            ({"size": 0}, "number of bytes"),
            ({"size": True}, "number of bytes"),
            ({"about_mb": -1}, "number of megabytes"),
            ({"sha256": "abc"}, "sha256 is 'abc'"),
            ({"sha256": "A" * 64}, "sha256 is 'AAAA"),
            ({"md5_prefix": "b251726"}, "md5_prefix is"),
        ],
    )
    def test_a_file_of_another_form_is_named(self, change: dict[str, Any], said: str) -> None:
        content = ORIGIN_JSON | {"sources": [{"format": "moco", "files": [FILE | change]}]}
        with pytest.raises(ModelFolderError, match=said):
            Origin.of(content, Path(ORIGIN))

    @pytest.mark.parametrize(
        ("change", "said"),
        [({"files": []}, "no files"), ({"claims": {"width": 2}}, "claims has 'width'"), ({"format": 3}, "format is 3")],
    )
    def test_a_source_of_another_form_is_named(self, change: dict[str, Any], said: str) -> None:
        content = ORIGIN_JSON | {"sources": [{"format": "moco", "files": [FILE], **change}]}
        with pytest.raises(ModelFolderError, match=said):
            Origin.of(content, Path(ORIGIN))

    def test_a_folder_with_a_broken_one_is_refused(self, tmp_path: Path) -> None:
        name, folder = next(iter(FOLDERS.items()))
        (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
        (tmp_path / ORIGIN).write_text(json.dumps({**ORIGIN_JSON, "sources": []}))
        with pytest.raises(ModelFolderError, match=ORIGIN):
            ModelSpec.from_folder(tmp_path)
        assert name

"""Who may read what, at which revision, and what is said where there is nothing to read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from cpchub.catalog import listing
from cpchub.catalog.listing import get_spec, list_models
from cpchub.encoders.load import load
from cpchub.errors import ArgumentError, HubError, ModelFolderError, OutputError, WeightsUnavailableError
from cpchub.hub.locate import locate_local
from cpchub.hub.publish import publish
from tests.loopback_hub import LoopbackHub
from tests.processes import EVERYBODYS
from tests.tiny_encoder import DIM, export_tiny, files_of

pytestmark = pytest.mark.usefixtures("own_cache")
NOBODY = 65534


class TestPrivate:
    @pytest.fixture(autouse=True)
    def private(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/secret", files_of(exported), private=True, readers={"right"})

    @pytest.mark.parametrize("token", [None, "wrong"])  # the Hub answers 401 to the one and 404 to the other
    def test_without_the_right_token_it_is_not_there_and_the_way_out_is_said(self, token: str | None) -> None:
        with pytest.raises(WeightsUnavailableError, match=r"private.*hf auth login.*token="):
            load("lab/secret", token=token)

    def test_a_token_as_argument_opens_it(self) -> None:
        assert load("lab/secret", token="right").dim == DIM

    def test_a_token_in_the_environment_opens_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "right")
        assert load("lab/secret").dim == DIM

    def test_what_is_published_as_private_is_closed_to_others(self, hub: LoopbackHub, exported: Path) -> None:
        publish(exported, "lab/mine", private=True, token="right")
        assert load("lab/mine", token="right").dim == DIM
        shutil.rmtree(Path(constants.HF_HUB_CACHE))
        with pytest.raises(WeightsUnavailableError):
            load("lab/mine", token="other")


class TestGated:
    @pytest.fixture(autouse=True)
    def gated(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/gated", files_of(exported), gated=True, readers={"accepted"})

    @pytest.mark.parametrize("token", [None, "not accepted yet"])  # the Hub answers 401 to the one and 403 to the other
    def test_before_its_terms_are_accepted_the_page_to_do_so_is_named(
        self, hub: LoopbackHub, token: str | None
    ) -> None:
        with pytest.raises(WeightsUnavailableError, match=f"gated: accept its terms on {hub.url}/lab/gated"):
            load("lab/gated", token=token)

    def test_afterwards_it_loads(self) -> None:
        assert load("lab/gated", token="accepted").dim == DIM

    def test_publishing_to_one_that_is_closed_to_us_is_refused(self, hub: LoopbackHub, exported: Path) -> None:
        before = hub.repos["lab/gated"].head
        with pytest.raises(WeightsUnavailableError, match="gated"):
            publish(exported, "lab/gated", token="not accepted yet")
        assert hub.repos["lab/gated"].head == before


class TestRevisions:
    @pytest.fixture
    def old(self, hub: LoopbackHub, exported: Path, tmp_path: Path) -> str:
        """The first of two commits; the second, of other weights, is main."""
        commit = hub.add("lab/tiny", files_of(exported))
        hub.add("lab/tiny", files_of(export_tiny(tmp_path / "newer", seed=1)))
        hub.repos["lab/tiny"].refs |= {"v1": commit, "team/branch": commit}
        return commit

    @pytest.mark.parametrize("name", ["v1", "team/branch", "short", "whole"])
    def test_a_tag_a_branch_and_a_commit_whole_or_short_lead_to_the_same_files(
        self, exported: Path, old: str, name: str
    ) -> None:
        revision = {"short": old[:8], "whole": old}.get(name, name)
        encoder = load("lab/tiny", revision=revision)
        assert encoder.spec.revision == old
        assert encoder.spec.fingerprint == load(exported).spec.fingerprint

    def test_without_one_it_is_the_newest(self, hub: LoopbackHub, old: str) -> None:
        assert load("lab/tiny").spec.revision == hub.repos["lab/tiny"].head != old

    def test_one_that_is_not_there_is_said_to_be_missing(self, old: str) -> None:
        for revision in ("v2", "f" * 40):
            with pytest.raises(HubError, match="no such revision"):
                load("lab/tiny", revision=revision)


class TestMissing:
    def test_a_repository_a_configuration_and_weights_that_are_not_there(
        self, hub: LoopbackHub, exported: Path
    ) -> None:
        hub.add("lab/empty", {"README.md": b"nothing yet"})
        files = files_of(exported)
        del files["model.safetensors"]
        hub.add("lab/described", files)
        with pytest.raises(WeightsUnavailableError, match="no repository lab/nowhere"):
            load("lab/nowhere")
        with pytest.raises(ModelFolderError, match=r"lab/empty has no config\.json"):
            load("lab/empty")
        with pytest.raises(ModelFolderError, match=r"lab/described has no model\.safetensors"):
            load("lab/described")

    def test_a_repository_without_descriptive_files_still_loads(self, hub: LoopbackHub, exported: Path) -> None:
        files = files_of(exported)
        hub.add("lab/bare", {name: files[name] for name in ("config.json", "model.safetensors")})
        assert load("lab/bare").dim == DIM


class TestNoRequests:
    @pytest.fixture
    def released(self, hub: LoopbackHub, exported: Path, tmp_path: Path) -> str:
        """A catalog entry that is pinned to its commit; returns the commit."""
        release = publish(exported, "lab/tiny-simclr", token="secret")
        release.record(exported, tmp_path / "model_cards" / "tiny-simclr")
        return release.revision

    def test_a_catalog_name_in_a_warm_cache_makes_none(self, hub: LoopbackHub, released: str) -> None:
        load("tiny-simclr")
        before = hub.total_requests()
        for revision in (None, released, released[:8]):
            assert load("tiny-simclr", revision=revision).spec.revision == released
        assert hub.total_requests() == before

    def test_offline_a_warm_cache_is_enough_and_a_cold_one_is_said_to_be(
        self, hub: LoopbackHub, released: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load("tiny-simclr")
        before = hub.total_requests()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert load("tiny-simclr").dim == DIM
        assert load("lab/tiny-simclr").dim == DIM
        with pytest.raises(WeightsUnavailableError, match="HF_HUB_OFFLINE is set"):
            load("lab/other")
        with pytest.raises(HubError):
            publish(locate_local("tiny-simclr").folder or "", "lab/elsewhere")
        assert hub.total_requests() == before


@contextmanager
def somebody_else() -> Iterator[None]:
    """Root reads everything, so permissions are only put to the test as a user without rights."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


class TestPermissions:
    @pytest.fixture
    def shared(self, exported: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A folder hub of two encoders that everybody may read, outside of the test's private folder."""
        with tempfile.TemporaryDirectory(dir=EVERYBODYS) as root:
            hub = Path(root) / "hub"
            for name in ("lab/open", "lab/closed"):
                shutil.copytree(exported, hub / name)
            for path in (Path(root), *hub.rglob("*"), hub):
                path.chmod(0o755)
            monkeypatch.setenv("CPCHUB_HUB", str(hub))
            monkeypatch.setattr(listing, "catalog_folder", lambda: Path("/nowhere"))
            yield hub
            for path in (Path(root), hub, hub / "lab", hub / "lab" / "closed"):
                path.chmod(0o755)

    def test_a_folder_hub_that_may_not_be_read_is_named(self, shared: Path) -> None:
        shared.chmod(0o000)
        with somebody_else(), pytest.raises(HubError, match=f"{shared} cannot be read.*CPCHUB_HUB"):
            list_models()

    def test_one_above_it_that_may_not_be_entered_is_the_same(self, shared: Path) -> None:
        shared.parent.chmod(0o000)
        with somebody_else(), pytest.raises(HubError, match=f"{shared} cannot be read"):
            list_models()

    def test_an_organisation_that_may_not_be_read_hides_no_other(self, shared: Path, exported: Path) -> None:
        shutil.copytree(exported, shared / "team" / "third")
        (shared / "lab").chmod(0o000)
        (shared / "team").chmod(0o755)
        (shared / "team" / "third").chmod(0o755)
        with somebody_else(), pytest.warns(UserWarning, match="lab in CPCHUB_HUB is left out"):
            assert len(list_models()) == 1

    def test_an_encoder_that_may_not_be_read_is_an_error_to_who_asks_for_it(self, shared: Path) -> None:
        (shared / "lab" / "closed" / "config.json").chmod(0o000)
        with somebody_else(), pytest.raises(ModelFolderError, match=r"closed.*cannot be read"):
            get_spec("closed")

    def test_publishing_where_one_may_not_write_is_one_clear_error(self, shared: Path, exported: Path) -> None:
        source = shared / "lab" / "open"
        with somebody_else(), pytest.raises(OutputError, match="cannot write"):
            publish(source, str(shared / "lab" / "mine"))
        assert not (shared / "lab" / "mine").exists()


def test_a_folder_hub_has_the_revision_it_has(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(exported, tmp_path / "hub" / "tiny-simclr")
    monkeypatch.setenv("CPCHUB_HUB", str(tmp_path / "hub"))
    with pytest.raises(ArgumentError, match="revision"):
        load("tiny-simclr", revision="a" * 40)

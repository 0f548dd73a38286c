"""A Hub that is down, a storage that refuses, a network in between: said soon, in words, with a way out that works."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from cpchub.catalog.spec import PUBLISHED_FILES
from cpchub.encoders.load import load
from cpchub.errors import HubError, WeightsUnavailableError
from cpchub.hub.locate import find
from cpchub.hub.publish import publish
from tests.loopback_hub import LoopbackHub, loopback_hub
from tests.tiny_encoder import DIM, files_of

pytestmark = pytest.mark.usefixtures("own_cache")
WEIGHTS = "model.safetensors"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between tries, ours and the client's; none of them passes."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: made.append(seconds) if seconds else None)
    return made


class TestPinned:
    @pytest.fixture
    def telemetry(self, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
        """The client as it comes: it asks the Hub for the programs that it tells apart before its first request."""
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None, raising=False)

    @pytest.mark.usefixtures("telemetry")
    @pytest.mark.parametrize("revision", ["whole", "in the name"])
    def test_a_warm_cache_makes_no_request_not_even_the_clients_own(
        self, revision: str, hub: LoopbackHub, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = hub.add("lab/tiny", files_of(exported))
        load("lab/tiny", revision=commit)
        monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None, raising=False)
        before = hub.total_requests()
        if revision == "whole":
            load("lab/tiny", revision=commit)
        else:
            load(f"hf-hub:lab/tiny@{commit}")
        assert hub.total_requests() == before


class TestDown:
    def test_a_refusal_is_believed_at_once(self, waits: list[float]) -> None:
        with pytest.raises(WeightsUnavailableError, match=r"not in the cache and the Hub cannot be reached \(.+\)"):
            load("lab/tiny")
        assert waits == []

    @pytest.mark.parametrize("address", ["hub.example.org", "http://127.0.0.1:1/hub"])
    def test_so_is_an_address_that_leads_nowhere(
        self, address: str, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(WeightsUnavailableError, match="the Hub cannot be reached"):
            load("lab/tiny")
        assert waits == []

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_an_error_of_the_server_is_told_after_a_few_seconds(
        self, status: int, hub: LoopbackHub, waits: list[float]
    ) -> None:
        hub.statuses["resolve"] = status
        with pytest.raises(WeightsUnavailableError, match=f"the Hub answers {status}: try again later"):
            load("lab/tiny")
        assert sum(waits) < 5

    def test_one_that_comes_back_meanwhile_is_waited_for(
        self, hub: LoopbackHub, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.add("lab/tiny", files_of(exported))
        hub.statuses["resolve"] = 503
        monkeypatch.setattr(time, "sleep", lambda seconds: hub.statuses.clear())
        assert load("lab/tiny").dim == DIM

    def test_what_is_in_the_cache_loads_and_its_missing_descriptions_are_not_waited_for(
        self, hub: LoopbackHub, exported: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.add("lab/tiny", files_of(exported))
        folder = find("lab/tiny")
        for name in set(PUBLISHED_FILES) - {"config.json", WEIGHTS}:
            (folder / name).unlink(missing_ok=True)
        monkeypatch.setenv("HF_ENDPOINT", NOBODY)
        assert load("lab/tiny").dim == DIM
        assert waits == []

    def test_it_is_told_when_only_the_weights_are_missing(
        self, hub: LoopbackHub, exported: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = hub.add("lab/tiny", files_of(exported))
        (find("lab/tiny") / WEIGHTS).unlink()
        shutil.rmtree(Path(constants.HF_HUB_CACHE) / "models--lab--tiny" / "blobs")
        monkeypatch.setenv("HF_ENDPOINT", NOBODY)
        with pytest.raises((WeightsUnavailableError, HubError), match="the Hub cannot be reached"):
            load("lab/tiny", revision=commit)
        assert waits == []


class TestEndpoint:
    @pytest.mark.parametrize("end", ["/", "//", " ", "/ "])
    def test_what_follows_the_address_does_not_matter(
        self, end: str, hub: LoopbackHub, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f" {hub.url}{end}")
        publish(exported, "lab/tiny", token="secret")
        assert load("lab/tiny").dim == DIM
        publish(exported, "lab/other", token="secret", endpoint=f"{hub.url}{end}")
        assert hub.requests["HEAD unknown"] + hub.requests["GET unknown"] == 0
        assert {"lab/tiny", "lab/other"} == set(hub.repos)

    def test_the_page_of_a_gated_one_is_named_without_a_double_slash(
        self, hub: LoopbackHub, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.add("lab/gated", files_of(exported), gated=True)
        monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/")
        with pytest.raises(WeightsUnavailableError, match=f"its terms on {hub.url}/lab/gated,"):
            load("lab/gated")


class TestUploads:
    @pytest.mark.parametrize("status", [400, 403, 500])
    @pytest.mark.parametrize("parts", [False, True])
    def test_a_storage_that_refuses_the_weights_is_one_error_with_its_status(
        self, status: int, parts: bool, exported: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        part_size = (exported / WEIGHTS).stat().st_size // 3 + 1 if parts else None
        with loopback_hub(part_size=part_size) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            hub.statuses["lfs_put_part" if parts else "lfs_put"] = status
            with pytest.raises(HubError, match=rf"{WEIGHTS}.*Publishing lab/tiny: the Hub answered {status} "):
                publish(exported, "lab/tiny", token="secret")
            assert WEIGHTS not in hub.repos["lab/tiny"].files

    @pytest.mark.parametrize("call", ["create_repo", "preupload", "lfs_batch", "commit", "model_info"])
    def test_so_is_every_other_call_that_is_refused(self, call: str, hub: LoopbackHub, exported: Path) -> None:
        hub.statuses[call] = 403
        with pytest.raises(HubError, match="the Hub answered 403"):
            publish(exported, "lab/tiny", token="secret")

    def test_a_network_that_answers_in_the_hubs_place_is_one_error(self, hub: LoopbackHub, exported: Path) -> None:
        hub.portal = True
        with pytest.raises(HubError, match=r"not what it should be .*look at HF_ENDPOINT"):
            publish(exported, "lab/tiny", token="secret")
        with pytest.raises((HubError, WeightsUnavailableError)):
            load("lab/tiny")


class TestShortDownloads:
    def test_the_advice_is_one_that_works_here(self, hub: LoopbackHub, exported: Path) -> None:
        hub.add("lab/tiny", files_of(exported))
        hub.lacks = 100
        with pytest.raises(HubError, match="the same call tries again") as caught:
            load("lab/tiny")
        assert "force_download" not in str(caught.value)
        hub.lacks = 0
        assert load("lab/tiny").dim == DIM
        assert hub.weights_sent == (exported / WEIGHTS).stat().st_size  # only what was missing was fetched

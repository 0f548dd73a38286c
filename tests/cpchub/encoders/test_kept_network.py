"""A converted network is kept for the next job, which it serves only as long as it is the encoder's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cpchub.encoders.encoder import Encoder
from cpchub.encoders.fast import processor
from cpchub.encoders.fast.engine_embedder import EngineEmbedder
from cpchub.encoders.fast.engines import Engine, installed_engines
from cpchub.encoders.fast.kept_network import ABOUT, VECTORS, KeptNetwork, kept_networks
from cpchub.encoders.kept_encoder import KeptEncoder, load_for_images
from cpchub.encoders.load import load
from tests.cpchub.encoders.fast_vectors import LONG, vectors
from tests.cpchub.images import an_image

pytestmark = [
    pytest.mark.usefixtures("two_threads", "own_networks"),
    pytest.mark.skipif(not installed_engines(), reason="neither OpenVINO nor MNN is installed"),
]
IMAGES = [an_image(n, (50, 40)) for n in range(20)]


@pytest.fixture
def own_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and no GPU whatever this machine has."""
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(processor, "has_gpu", lambda: False)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that have converted a network, one for each time."""
    seen: list[str] = []
    for engine in map(type, installed_engines()):
        convert = engine.convert

        def counted(self: Engine, *args: Any, convert: Any = convert) -> None:
            seen.append(self.name)
            convert(self, *args)

        monkeypatch.setattr(engine, "convert", counted)
    return seen


def embedded(encoder: Any) -> np.ndarray:
    embedder = encoder.embedder(LONG)
    assert isinstance(embedder, EngineEmbedder)
    found = embedder.encode([embedder.prepare(image) for image in IMAGES])
    embedder.close()
    assert embedder.path in ("OpenVINO", "MNN")
    return found


def plain(encoder: Encoder) -> np.ndarray:
    return encoder.encode(IMAGES, normalize=True)


def the_entry() -> Path:
    (entry,) = kept_networks().entries()
    return entry.folder


def test_a_second_job_takes_the_network_that_the_first_has_kept(
    tiny_encoder_folder: Path, conversions: list[str]
) -> None:
    first, second = (embedded(load(tiny_encoder_folder)) for _ in range(2))
    assert len(conversions) == 1
    assert np.allclose(first, second, atol=1e-6)
    assert (second * plain(load(tiny_encoder_folder))).sum(1).min() >= 0.99999


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "nonsense"])
def test_a_damaged_entry_is_made_again(tiny_encoder_folder: Path, conversions: list[str], damage: str) -> None:
    encoder = load(tiny_encoder_folder)
    expected = embedded(encoder)
    weights = max(the_entry().iterdir(), key=lambda file: file.stat().st_size)
    whole = weights.read_bytes()
    if damage == "cut":
        weights.write_bytes(whole[:-100])
    elif damage == "changed":
        weights.write_bytes(whole[:-100] + bytes(100))
    elif damage == "missing":
        weights.unlink()
    else:
        (the_entry() / ABOUT).write_text("[]")
    assert np.allclose(embedded(encoder), expected, atol=1e-6)
    assert len(conversions) == 2
    assert KeptNetwork.read(the_entry()).encoder == encoder.spec.name


def test_a_network_that_was_trained_on_is_not_kept_and_not_taken_for_its_files(
    tiny_encoder_folder: Path, conversions: list[str]
) -> None:
    untouched, trained = load(tiny_encoder_folder), load(tiny_encoder_folder)
    with torch.no_grad():
        trained.model.layer4[0].conv1.weight[0] += 1e-3
    embedded(trained)
    assert kept_networks().entries() == []
    embedded(untouched)
    assert (embedded(trained) * plain(trained)).sum(1).min() >= 0.99999
    assert len(conversions) == 3


def test_a_cache_that_cannot_be_written_keeps_no_job_from_its_work(
    tiny_encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CPCHUB_CACHE", str(tmp_path / "file"))
    encoder = load(tiny_encoder_folder)
    assert (embedded(encoder) * plain(encoder)).sum(1).min() >= 0.99999


def test_a_short_job_takes_what_is_kept_and_converts_nothing(tiny_encoder_folder: Path, conversions: list[str]) -> None:
    encoder, some = load(tiny_encoder_folder), 1000
    assert vectors(encoder, images=some)[0] == "folded"
    assert conversions == []
    embedded(encoder)
    assert vectors(encoder, images=some)[0] in ("OpenVINO", "MNN")
    assert len(conversions) == 1


def test_an_encoder_comes_from_its_kept_network_and_gives_the_same_vectors(tiny_encoder_folder: Path) -> None:
    encoder = load(tiny_encoder_folder)
    assert isinstance(load_for_images(tiny_encoder_folder), Encoder)  # nothing is kept yet
    expected = embedded(encoder)
    kept = load_for_images(tiny_encoder_folder)
    assert isinstance(kept, KeptEncoder)
    assert kept.spec.fingerprint == encoder.spec.fingerprint
    assert np.allclose(embedded(kept), expected, atol=1e-6)
    assert np.allclose(kept.encode(IMAGES), encoder.encode(IMAGES), atol=1e-4)
    one = kept.embedder(1)
    assert np.allclose(one.encode([one.prepare(IMAGES[0])]), plain(encoder)[:1], atol=1e-5)
    assert kept._loaded is None  # for one image too, torch would take longer than what is kept


def test_without_torch_a_network_that_gives_other_vectors_than_were_recorded_is_not_taken(
    tiny_encoder_folder: Path,
) -> None:
    encoder = load(tiny_encoder_folder)
    expected = embedded(encoder)
    np.save(the_entry() / VECTORS, -np.load(the_entry() / VECTORS))
    about = json.loads((the_entry() / ABOUT).read_text())
    del about["files"][VECTORS]
    (the_entry() / ABOUT).write_text(json.dumps(about))
    kept = load_for_images(tiny_encoder_folder)
    assert isinstance(kept, KeptEncoder)
    embedder = kept.embedder(LONG)
    assert np.allclose(embedder.encode([embedder.prepare(image) for image in IMAGES]), expected, atol=1e-6)
    assert kept._loaded is not None  # the plain network was asked


WITHOUT_TORCH = """
import sys
import numpy as np
from pathlib import Path
from cpchub.embedding.job import embed
from cpchub.encoders.kept_encoder import load_for_images
encoder, images, out = load_for_images(sys.argv[1]), sys.argv[2], sys.argv[3]
embed(images, out, encoder, progress=False)
print(sorted({"torch", "timm", "openvino_telemetry"} & {name for name, module in sys.modules.items() if module}))
"""


def test_a_job_whose_network_is_kept_imports_no_torch_and_reports_to_nobody(
    tiny_encoder_folder: Path, tmp_path: Path
) -> None:
    from cpchub.collection.collection import Collection

    encoder = load(tiny_encoder_folder)
    embedded(encoder)
    images = tmp_path / "images"
    images.mkdir()
    an_image(0, (40, 40)).save(images / "0.png")
    for number in range(1, 900):  # enough for what is kept, of 32 x 32 pixels each
        os.link(images / "0.png", images / f"{number}.png")
    words = [str(tiny_encoder_folder), str(images), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    found = np.asarray(Collection.open(tmp_path / "out").vectors()[:1])
    assert (found * encoder.encode([images / "0.png"], normalize=True)).sum() >= 0.999  # it may compute in bfloat16


SEARCHES = """
import sys
from cpchub.cli.main import main
assert main(["search", sys.argv[1], sys.argv[2], "-k", "1"]) == 0
print(sorted({"torch", "timm", "pandas", "sklearn", "huggingface_hub.hf_api"} & {*sys.modules}))
"""


def test_a_search_with_a_kept_network_imports_no_torch_no_pandas_and_no_client_of_the_hub(
    tiny_encoder_folder: Path, tmp_path: Path
) -> None:
    from cpchub.embedding.job import embed
    from cpchub.index import Index

    encoder = load(tiny_encoder_folder)
    embedded(encoder)
    images = tmp_path / "images"
    images.mkdir()
    for number, image in enumerate(IMAGES[:3]):
        image.save(images / f"{number}.png")
    collection = embed(images, tmp_path / "out", encoder, progress=False)
    Index.build(collection)
    words = [str(collection.folder), str(images / "1.png")]
    done = subprocess.run([sys.executable, "-c", SEARCHES, *words], capture_output=True, text=True, check=True)
    assert done.stdout == "1.0000\t1.png\n[]\n"


def test_encode_takes_the_engine_for_many_images_and_sees_that_the_network_has_changed(
    tiny_encoder_folder: Path, conversions: list[str]
) -> None:
    encoder, many = load(tiny_encoder_folder), 8000
    arrays = np.repeat(np.stack([np.asarray(an_image(n, (32, 32))) for n in range(4)]), many // 4, axis=0)
    for _ in range(2):
        found = encoder.encode(arrays)
        assert np.allclose(found[:: many // 4], encoder.encode(arrays[:: many // 4]), atol=1e-4)
    assert len(conversions) == 1
    with torch.no_grad():
        encoder.model.conv1[0].weight.mul_(1.1)
    found = encoder.encode(arrays, normalize=True)
    assert np.allclose(found[:: many // 4], encoder.encode(arrays[:: many // 4], normalize=True), atol=1e-4)
    assert len(conversions) == 2


def test_a_network_with_hooks_is_run_by_torch_which_calls_them(tiny_encoder_folder: Path) -> None:
    encoder = load(tiny_encoder_folder)
    called: list[int] = []
    handle = encoder.model.layer1.register_forward_hook(lambda *args: called.append(1))
    assert not isinstance(encoder.embedder(LONG), EngineEmbedder)
    handle.remove()
    assert isinstance(encoder.embedder(LONG), EngineEmbedder)

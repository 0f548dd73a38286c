"""Long jobs on a CPU use MNN, which gives the vectors of the plain network or is not taken."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from cpchub.encoders.encoder import Encoder
from cpchub.encoders.fast import fast_embedder, mnn_engine, processor
from cpchub.encoders.fast.engines import STEP, Run, Setting
from cpchub.encoders.fast.mnn_engine import Mnn
from cpchub.encoders.fast.openvino_engine import OpenVino
from cpchub.encoders.load import load
from tests.cpchub.encoders.fast_vectors import LONG, exactly, seen_data, vectors
from tests.cpchub.images import an_image

pytestmark = pytest.mark.usefixtures("two_threads")


@pytest.fixture
def for_mnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with neither bfloat16 nor AVX-512, whatever this one is."""
    if not Mnn.is_installed():
        pytest.skip("MNN is not installed")
    monkeypatch.setattr(processor, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(processor, "cpu_has_avx512", lambda: False)


@pytest.fixture(scope="module")
def small() -> Encoder:
    torch.manual_seed(0)
    found = load("timm/resnet18", pretrained=False, num_classes=0, pretrained_cfg_overlay={"input_size": (3, 64, 64)})
    seen_data(found.model)
    return found


@pytest.mark.usefixtures("for_mnn")
def test_long_jobs_use_mnn_and_no_file_is_left(small: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path, found = vectors(small, images=LONG, count=STEP + 3)
    assert path == "MNN"
    assert (found * exactly(small, STEP + 3)).sum(1).min() >= 0.99999
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("for_mnn")
def test_many_lanes_of_mnn_at_once_give_each_batch_its_own_vectors_whatever_its_size(small: Encoder) -> None:
    embedder = small.embedder(LONG)
    embedder.lanes = 3
    embedder._setting = replace(embedder._setting, lanes=3)
    prepared = [embedder.prepare(an_image(n, (90, 70))) for n in range(STEP)]
    expected = exactly(small, STEP)
    batches = [(start, start + size) for start in (0, 5, 9) for size in (1, 7, 4, 2)]
    with ThreadPoolExecutor(2 * embedder.lanes) as pool:
        found = list(pool.map(lambda batch: embedder.encode(prepared[slice(*batch)]), batches))
    embedder.close()
    assert embedder.path == "MNN"
    for (start, stop), some in zip(batches, found, strict=True):
        assert np.allclose(some, expected[start:stop], atol=1e-4)


@pytest.mark.usefixtures("for_mnn")
def test_a_vector_of_mnn_is_the_same_whatever_is_in_its_batch(small: Encoder) -> None:
    embedder = small.embedder(LONG)
    prepared = [embedder.prepare(an_image(n, (90, 70))) for n in range(STEP)]
    together = embedder.encode(prepared)
    alone = embedder.encode(prepared[3:4])
    embedder.close()
    assert np.array_equal(together[3:4], alone)


@pytest.mark.usefixtures("for_mnn")
def test_a_network_that_mnn_does_not_run_is_told_and_folded(
    small: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(mnn_engine, "CONVERT", "import os; print('no such operator', flush=True); os.abort()")
    with pytest.warns(UserWarning, match="the MNN path does not run this network .*no such operator"):
        path, found = vectors(small, images=LONG)
    assert path == "folded"
    assert (found * exactly(small)).sum(1).min() >= 0.9999
    assert list(tmp_path.iterdir()) == []


def in_mnn(network: nn.Module, x: torch.Tensor, folder: Path) -> Run:
    """The network, converted and opened; it takes float32 `[B, C, H, W]`."""
    engine = Mnn(batch=4)
    engine.convert(network, x, folder)
    return engine.opened(folder, Setting(tuple(x.shape[1:]), None))


class Unwritable(nn.Module):
    """An operator that ONNX has no word for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x).mean((2, 3))


class Recurrent(nn.Module):
    """What MNN converts and then does not run, for more images than it was exported with."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x[:, 0])[0].mean(1)


@pytest.mark.usefixtures("for_mnn")
@pytest.mark.parametrize(("network", "reason"), [(Unwritable(), "bessel"), (Recurrent(), "MNN")], ids=["onnx", "mnn"])
def test_what_mnn_cannot_run_is_an_error_that_the_choice_of_a_path_expects(
    network: nn.Module, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=reason):
        in_mnn(network, torch.randn(2, 3, 8, 8), tmp_path)
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("for_mnn")
def test_mnn_refuses_images_of_another_size_than_the_first(tmp_path: Path) -> None:
    run = in_mnn(nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8), tmp_path)
    assert run(np.zeros((5, 3, 8, 8), np.float32)).shape == (5, 4, 6, 6)
    with pytest.raises(ValueError, match="9"):
        run(np.zeros((2, 3, 9, 9), np.float32))


QUIET = """
import pathlib, sys, torch
from cpchub.encoders.fast.engines import Setting
from cpchub.encoders.fast.mnn_engine import Mnn
engine, folder, x = Mnn(batch=4), pathlib.Path(sys.argv[1]), torch.randn(5, 3, 8, 8)
engine.convert(torch.nn.Conv2d(3, 4, 3), x, folder)
print(engine.opened(folder, Setting((3, 8, 8), None, lanes=2))(x.numpy()).shape[0])
"""


@pytest.mark.usefixtures("for_mnn")
def test_mnn_says_nothing_on_the_standard_output(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", QUIET, str(tmp_path)], capture_output=True, check=True)
    assert done.stdout == b"5\n"


@pytest.mark.usefixtures("for_mnn")
@pytest.mark.parametrize(
    ("images", "changes"),
    [(LONG // 50, ()), (LONG, ("MNN_WEIGHTS", 2**20)), (LONG, ("Mnn.is_installed", lambda: False))],
    ids=["short", "large", "missing"],
)
def test_jobs_that_mnn_would_not_repay_or_have_room_for_do_not_convert(
    small: Encoder, monkeypatch: pytest.MonkeyPatch, images: int, changes: tuple[str, Any] | tuple[()]
) -> None:
    monkeypatch.setattr(OpenVino, "is_installed", lambda: False)
    monkeypatch.setattr(Mnn, "convert", lambda *args: pytest.fail("converted"))
    if changes:
        monkeypatch.setattr(f"cpchub.encoders.fast.mnn_engine.{changes[0]}", changes[1])
    assert vectors(small, images=images)[0] == "folded"


@pytest.mark.usefixtures("for_mnn")
@pytest.mark.parametrize(
    "name", ["resnet18_cifar", "cpc_resnet18_small", "cmc_resnet18_v1", "simclr_resnet18_cifar", "vit_tiny_patch16_224"]
)
def test_mnn_computes_networks_of_many_kinds(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = seen_data(timm.create_model(name, num_classes=0))
    size = 224 if name.startswith("vit") else 32
    x = torch.randn(3, 3, size, size)
    with torch.inference_mode():
        expected = fast_embedder.Pooled(model)(x)
        found = torch.from_numpy(in_mnn(fast_embedder.Pooled(model).eval(), x, tmp_path)(x.numpy()))
    assert nn.functional.cosine_similarity(found, expected).min() >= 0.9999

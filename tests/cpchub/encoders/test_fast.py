"""The fast paths give the vectors of the plain network, or are not taken."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from cpchub.encoders.encoder import Encoder
from cpchub.encoders.fast import engines, fast_embedder
from cpchub.encoders.fast.fast_embedder import STEP
from cpchub.encoders.fast.folding import folded
from cpchub.encoders.load import load
from tests.cpchub.images import an_image

LONG = 50_000  # images, enough for MNN


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """A job of two lanes, whatever the number of cores here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def seen_data(model: Any) -> Any:
    """A network whose batch norms have statistics and weights of their own."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_mean, module.bias):
                    tensor.normal_(0, 0.2, generator=generator)
                for tensor in (module.running_var, module.weight):
                    tensor.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    found = load("timm/resnet18", pretrained=False, num_classes=0)
    seen_data(found.model)
    return found


def vectors(encoder: Encoder, *, images: int = 10, count: int = 6) -> tuple[str, np.ndarray]:
    embedder = encoder.embedder(images)
    found = embedder.encode([embedder.prepare(an_image(n, (90, 70))) for n in range(count)])
    embedder.close()
    return embedder.path, found


def exactly(encoder: Encoder, count: int = 6) -> np.ndarray:
    return encoder.encode([an_image(n, (90, 70)) for n in range(count)], normalize=True)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_folding_keeps_the_function_and_leaves_no_batch_norm_behind_a_convolution(name: str) -> None:
    torch.manual_seed(0)
    model = seen_data(timm.create_model(name, num_classes=0))
    x = torch.randn(2, 3, 64, 64)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    light = folded(model, x)
    other = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(light(other), model(other), rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in light.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Forked(nn.Module):
    """The convolution's output goes past the norm too, so folding it in would change the result."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convolution(x)
        return (self.norm(y) + y).mean((2, 3))


def test_a_network_that_folding_would_change_is_left_as_it_is() -> None:
    model = seen_data(Forked())
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(folded(model, x)(x), model(x))


def test_the_fast_path_gives_the_vectors_of_encode(encoder: Encoder) -> None:
    path, found = vectors(encoder)
    assert path == "folded" or fast_embedder.cpu_has_bfloat16()
    assert (found * exactly(encoder)).sum(1).min() >= 0.9999


def test_a_dtype_that_is_named_keeps_to_the_plain_network() -> None:
    torch.manual_seed(0)
    exact = load("timm/resnet18", pretrained=False, num_classes=0, dtype="float32")
    path, found = vectors(exact)
    assert path == "plain"
    assert np.allclose(found, exactly(exact), atol=1e-6)


def test_a_path_whose_vectors_differ_is_not_taken(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_embedder, "folded", lambda model, x: nn.Sequential(model, nn.ReLU(), nn.LayerNorm(512)))
    monkeypatch.setattr(fast_embedder, "cpu_has_bfloat16", lambda: False)
    path, found = vectors(encoder)
    assert path == "plain"
    assert np.allclose(found, exactly(encoder), atol=1e-5)


def test_a_path_that_fails_is_told_and_not_taken(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: nn.Module, x: torch.Tensor) -> nn.Module:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(fast_embedder, "folded", fails)
    monkeypatch.setattr(fast_embedder, "cpu_has_bfloat16", lambda: False)
    with pytest.warns(UserWarning, match="no such kernel"):
        path, found = vectors(encoder)
    assert path == "plain"
    assert np.allclose(found, exactly(encoder), atol=1e-5)


@pytest.mark.slow
def test_bfloat16_is_close_enough_where_a_cpu_has_it(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_embedder, "cpu_has_bfloat16", lambda: True)  # emulated here, with the same rounding
    path, found = vectors(encoder)
    assert path in ("bfloat16", "folded")
    assert (found * exactly(encoder)).sum(1).min() >= 0.999


@pytest.fixture
def for_mnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without bfloat16, whatever this one is."""
    if not engines.has_mnn():
        pytest.skip("MNN is not installed")
    monkeypatch.setattr(fast_embedder, "cpu_has_bfloat16", lambda: False)


@pytest.fixture(scope="module")
def small() -> Encoder:
    torch.manual_seed(0)
    found = load("timm/resnet18", pretrained=False, num_classes=0, pretrained_cfg_overlay={"input_size": (3, 64, 64)})
    seen_data(found.model)
    return found


def test_long_jobs_use_openvino_where_it_is_installed_and_mnn_is_not(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(fast_embedder, "has_mnn", lambda: False)
    path, found = vectors(encoder, images=fast_embedder.OPENVINO_FROM)
    assert path == "OpenVINO"
    assert (found * exactly(encoder)).sum(1).min() >= 0.9999


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
    monkeypatch.setattr(engines, "CONVERT", "import os; print('no such operator', flush=True); os.abort()")
    with pytest.warns(UserWarning, match="the MNN path does not run this network .*no such operator"):
        path, found = vectors(small, images=LONG)
    assert path == "folded"
    assert (found * exactly(small)).sum(1).min() >= 0.9999
    assert list(tmp_path.iterdir()) == []


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
    network: nn.Module, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=reason):
        engines.in_mnn(network, torch.randn(2, 3, 8, 8), lanes=1, batch=4)
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("for_mnn")
def test_mnn_refuses_images_of_another_size_than_the_first() -> None:
    run = engines.in_mnn(nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8), lanes=1, batch=4)
    assert run(torch.randn(5, 3, 8, 8)).shape == (5, 4, 6, 6)
    with pytest.raises(ValueError, match="9"):
        run(torch.randn(2, 3, 9, 9))


QUIET = """
import torch
from cpchub.encoders.fast.engines import in_mnn
print(in_mnn(torch.nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8), lanes=2, batch=4)(torch.randn(5, 3, 8, 8)).shape[0])
"""


@pytest.mark.usefixtures("for_mnn")
def test_mnn_says_nothing_on_the_standard_output() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, check=True)
    assert done.stdout == b"5\n"


@pytest.mark.usefixtures("for_mnn")
@pytest.mark.parametrize(
    ("images", "changes"),
    [(LONG // 50, {}), (LONG, {"MNN_WEIGHTS": 2**20}), (LONG, {"has_mnn": lambda: False})],
    ids=["short", "large", "missing"],
)
def test_jobs_that_mnn_would_not_repay_or_have_room_for_do_not_convert(
    small: Encoder, monkeypatch: pytest.MonkeyPatch, images: int, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(fast_embedder, "has_openvino", lambda: False)
    monkeypatch.setattr(fast_embedder, "in_mnn", lambda *args, **kwargs: pytest.fail("converted"))
    for name, value in changes.items():
        monkeypatch.setattr(fast_embedder, name, value)
    assert vectors(small, images=images)[0] == "folded"


@pytest.mark.usefixtures("for_mnn")
@pytest.mark.parametrize(
    "name", ["resnet18_cifar", "cpc_resnet18_small", "cmc_resnet18_v1", "simclr_resnet18_cifar", "vit_tiny_patch16_224"]
)
def test_mnn_computes_networks_of_many_kinds(name: str) -> None:
    torch.manual_seed(0)
    model = seen_data(timm.create_model(name, num_classes=0))
    size = 224 if name.startswith("vit") else 32
    x = torch.randn(3, 3, size, size)
    with torch.inference_mode():
        expected = fast_embedder.Pooled(model)(x)
        found = engines.in_mnn(fast_embedder.Pooled(model).eval(), x, lanes=1, batch=4)(x)
    assert nn.functional.cosine_similarity(found, expected).min() >= 0.9999


def test_an_unusual_transform_goes_through_timms_own(tiny_encoder_folder: Path) -> None:
    squashing = load(tiny_encoder_folder)
    squashing.transform.transforms.insert(0, lambda image: image.rotate(90))
    found = vectors(squashing)[1]
    assert np.allclose(found, exactly(squashing), atol=1e-5)


def test_a_batch_goes_to_the_device_of_the_encoder_whichever_that_is(encoder: Encoder) -> None:
    embedder = encoder.embedder(1)
    embedder._device = torch.device("meta")
    assert embedder._batch([embedder.prepare(an_image(1))]).device.type == "meta"


def test_threads_started_later_have_the_setting_from_before(encoder: Encoder) -> None:
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(torch.get_num_threads).result()
    vectors(encoder)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def test_a_network_in_training_is_embedded_with_and_left_as_it_was(encoder: Encoder) -> None:
    expected, before = exactly(encoder), {key: value.clone() for key, value in encoder.model.state_dict().items()}
    encoder.model.train()
    try:
        found = vectors(encoder)[1]
        assert encoder.model.training
    finally:
        encoder.model.eval()
    assert (found * expected).sum(1).min() >= 0.9999
    assert all(torch.equal(value, before[key]) for key, value in encoder.model.state_dict().items())


def test_encode_gives_many_images_the_vectors_that_it_gives_few(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = exactly(encoder)
    monkeypatch.setattr("cpchub.encoders.encoder.FOLDED_FROM", 6)
    norms = []
    handle = encoder.model.bn1.register_forward_hook(lambda *args: norms.append(1))
    many = exactly(encoder)
    handle.remove()
    assert len(norms) == 2  # to fold it, and to compare: the batch itself goes past the norm
    assert np.allclose(few, many, atol=1e-5)

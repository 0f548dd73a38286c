"""The fast paths give the vectors of the plain network, or are not taken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from cpchub.encoders.encoder import Encoder
from cpchub.encoders.fast import fast_embedder, processor
from cpchub.encoders.fast.folding import folded
from cpchub.encoders.fast.mnn_engine import Mnn
from cpchub.encoders.fast.openvino_engine import OpenVino
from cpchub.encoders.load import load
from tests.cpchub.encoders.fast_vectors import exactly, seen_data, vectors
from tests.cpchub.images import an_image

pytestmark = pytest.mark.usefixtures("two_threads")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    found = load("timm/resnet18", pretrained=False, num_classes=0)
    seen_data(found.model)
    return found


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
    assert path == "folded" or processor.cpu_has_bfloat16()
    assert (found * exactly(encoder)).sum(1).min() >= 0.9999


def test_a_dtype_that_is_named_keeps_to_the_plain_network() -> None:
    torch.manual_seed(0)
    exact = load("timm/resnet18", pretrained=False, num_classes=0, dtype="float32")
    path, found = vectors(exact)
    assert path == "plain"
    assert np.allclose(found, exactly(exact), atol=1e-6)


def test_a_path_whose_vectors_differ_is_not_taken(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_embedder, "folded", lambda model, x: nn.Sequential(model, nn.ReLU(), nn.LayerNorm(512)))
    monkeypatch.setattr(processor, "cpu_has_bfloat16", lambda: False)
    path, found = vectors(encoder)
    assert path == "plain"
    assert np.allclose(found, exactly(encoder), atol=1e-5)


def test_a_path_that_fails_is_told_and_not_taken(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: nn.Module, x: torch.Tensor) -> nn.Module:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(fast_embedder, "folded", fails)
    monkeypatch.setattr(processor, "cpu_has_bfloat16", lambda: False)
    with pytest.warns(UserWarning, match="no such kernel"):
        path, found = vectors(encoder)
    assert path == "plain"
    assert np.allclose(found, exactly(encoder), atol=1e-5)


@pytest.mark.slow
def test_bfloat16_is_close_enough_where_a_cpu_has_it(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "cpu_has_bfloat16", lambda: True)  # emulated here, with the same rounding
    path, found = vectors(encoder)
    assert path in ("bfloat16", "folded")
    assert (found * exactly(encoder)).sum(1).min() >= 0.999


def test_long_jobs_use_openvino_where_it_is_installed_and_mnn_is_not(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not OpenVino.is_installed():
        pytest.skip("OpenVINO is not installed")
    monkeypatch.setattr(Mnn, "is_installed", lambda: False)
    path, found = vectors(encoder, images=2000)
    assert path == "OpenVINO"
    assert (found * exactly(encoder)).sum(1).min() >= 0.9999


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

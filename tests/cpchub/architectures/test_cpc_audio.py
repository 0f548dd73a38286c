"""The network for sound keeps timm's contract, and hears what the paper says and nothing later."""

from __future__ import annotations

import pytest
import timm
import torch

from cpchub.errors import ArgumentError
from tests.cpchub.tiny_audio import network, waveform


class TestNetwork:
    def test_the_paper_s_network_hears_465_samples_every_160(self) -> None:
        with torch.device("meta"):
            model = timm.create_model("cpc_audio")
        assert (model.receptive_field, model.hop, model.steps(20480)) == (465, 160, 128)
        assert (model.channels, model.num_features) == (512, 256)

    def test_it_keeps_timms_contract_with_sound_as_an_image_one_row_high(self) -> None:
        model = network()
        x = torch.from_numpy(waveform()).reshape(1, 1, 1, -1)
        features = model.forward_features(x)
        assert features.shape == (1, 5, 1, model.steps(300)) == (1, 5, 1, 14)
        assert torch.equal(model(x), features.mean((2, 3)))
        assert torch.equal(network(global_pool="last")(x), features[:, :, 0, -1])
        assert torch.equal(network(global_pool="")(x), features)
        model.reset_classifier(4)
        assert model(x).shape == (1, 4)
        assert model.forward_head(features, pre_logits=True).shape == (1, 5)

    @torch.no_grad()
    def test_a_context_hears_nothing_of_what_comes_after_its_z(self) -> None:
        model = network()
        x = torch.from_numpy(waveform())[None]
        changed = x.clone()
        changed[:, 200:] += 1
        (z, c), (z_changed, c_changed) = model.encode_steps(x), model.encode_steps(changed)
        same = (z == z_changed).all(2)[0]
        first = int(same.int().argmin())
        assert same[:first].all()
        assert 0 < first < len(same)
        assert torch.equal(c[:, :first], c_changed[:, :first])
        assert not torch.equal(c[:, first:], c_changed[:, first:])

    def test_sound_shorter_than_the_receptive_field_is_refused_with_the_arithmetic(self) -> None:
        with pytest.raises(ArgumentError, match=r"44 samples .* receptive field of 45 .*10/5, 8/4"):
            network()(torch.zeros(1, 44))

    def test_arguments_that_cannot_work_are_refused(self) -> None:
        with pytest.raises(ArgumentError, match="differ in length"):
            network(strides=[5])
        with pytest.raises(ArgumentError, match="global_pool"):
            network(global_pool="catavgmax")

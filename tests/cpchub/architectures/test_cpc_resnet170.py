"""The large encoder of CPC v2 takes a real training step, is published, and is loaded by its name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cpchub
from cpchub.catalog import listing
from cpchub.hub.publish import publish
from cpchub_training import data, recipes
from cpchub_training.jobs.pretrain import export_run
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.cpc_settings import CPCSettings
from cpchub_training.run.loop import train
from tests.loopback_hub import LoopbackHub

CATALOG = listing.catalog_folder()


def one_step_of_resnet170() -> Recipe:
    """The recipe of the paper for 4 images of 64 pixels: the same network on 2 x 2 patches of 32, four directions."""
    recipe = recipes.get("cpc_resnet170_imagenet")
    return replace(
        recipe,
        backbone_args={"patch_size": 32, "patch_stride": 32},
        views=replace(recipe.views, size=64),
        input_size=64,
        epochs=1,
        batch_size=4,
        accumulate=1,
        optimizer="sgd",  # Adam's two moments of 304 million weights would take the memory of a small machine
        ema_decay=0.0,
        precision="fp32",
        cpc=CPCSettings(checkpoint_activations=True, group=2),
    )


@pytest.mark.slow
def test_resnet170_trains_is_published_and_loads_by_name(tmp_path: Path, hub: LoopbackHub) -> None:
    recipe = one_step_of_resnet170()
    noise = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(recipe.seed)
    result = train(recipe, tmp_path / "run", images=data.Images("noise", noise), accelerator="cpu")
    assert result.metrics["step"] == 1
    assert abs(result.metrics["loss"] - np.log(2 * 4)) < 0.5
    assert result.metrics["gradient_norm"] > 0

    exported = export_run(recipe, result.backbone, tmp_path / "export", 4, name="cpc-resnet170")
    entry = listing.catalog_folder() / "cpc-resnet170"  # the catalog of this test
    shutil.copytree(CATALOG / "cpc-resnet170", entry)
    publish(exported, "cpchub/cpc-resnet170", token="secret").record(exported, entry)
    shutil.rmtree(exported)
    assert not (entry / "model.safetensors").exists()

    encoder = cpchub.load("cpc-resnet170", device="cpu")
    assert encoder.spec.repo_id == "cpchub/cpc-resnet170"
    image = noise[0].permute(1, 2, 0).numpy()
    vector = encoder.encode(image)
    assert vector.shape == (1, 4096)
    with torch.no_grad():
        expected = result.backbone.eval()(encoder.prepare(image)[None])
    np.testing.assert_allclose(vector, expected.numpy(), rtol=1e-4, atol=1e-5)

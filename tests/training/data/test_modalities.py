"""CMC on folders of aligned modalities: scenes are put together, one that is not whole is named, encoders come out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cpchub
from cpchub.errors import ArgumentError, SourceError
from cpchub_training import data, recipes
from cpchub_training.jobs.pretrain import export_run
from cpchub_training.recipes import CMCSettings, Recipe
from cpchub_training.run.loop import train
from cpchub_training.views.settings import Views
from tests.training.small_runs import TINY

GROUPS = [[0, 1, 2], [3], [4, 5, 6]]


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """24 scenes in two classes: a photo, its depth (grey PNG) and its normals."""
    rng = np.random.default_rng(0)
    for i in range(24):
        for name, mode, suffix in (("rgb", "RGB", "jpg"), ("depth", "L", "png"), ("normals", "RGB", "png")):
            folder = tmp_path / name / ("kitchen" if i % 2 else "office")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / f"{i:02}.{suffix}")
    return tmp_path


def spec(scenes: Path, *names: str) -> str:
    return ",".join(f"{name}={scenes / name}" for name in names)


def test_a_scene_is_all_its_modalities_over_one_another(scenes: Path) -> None:
    images = data.load(spec(scenes, "rgb", "depth", "normals"), size=16)
    assert images.images.shape == (24, 7, 16, 16)
    assert images.classes == ("kitchen", "office")
    depth = np.array(Image.open(scenes / "depth" / "kitchen" / "01.png"))
    normals = np.array(Image.open(scenes / "normals" / "kitchen" / "01.png"))
    assert np.array_equal(images.images[0, 3].numpy(), depth)
    assert np.array_equal(images.images[0, 4:].permute(1, 2, 0).numpy(), normals)


def test_views_that_do_not_align_are_named(scenes: Path) -> None:
    (scenes / "depth" / "kitchen" / "05.png").unlink()
    with pytest.raises(SourceError, match=r"depth and rgb do not align: 1 scene.*'kitchen/05' in rgb"):
        data.load(spec(scenes, "rgb", "depth"), size=16)


def test_a_scene_with_a_broken_image_is_listed_and_the_rest_is_used(scenes: Path) -> None:
    (scenes / "depth" / "kitchen" / "05.png").write_bytes(b"no image")
    images = data.load(spec(scenes, "rgb", "depth"), size=16)
    assert len(images) == 23
    assert [name for name, _ in images.skipped] == ["kitchen/05"]


@pytest.mark.parametrize("name", ["rgb=", "rgb=/a", "rgb=/a,rgb=/b", "=/a,=/b"])
def test_what_does_not_name_two_modalities_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match="write rgb=FOLDER,depth=FOLDER"):
        data.load(name)


def recipe(scenes: Path, **changes: object) -> Recipe:
    base = replace(
        recipes.get("cmc_resnet18_cifar10_200e"),
        name="rooms",
        data=spec(scenes, "rgb", "depth", "normals"),
        backbone_args={"path": "resnet18", "path_args": TINY, "space": "channels", "channels": GROUPS, "in_chans": 7},
        views=Views(size=16, jitter_p=0.0, grey_p=0.0),
        stored_size=16,
        input_size=16,
        projector_dim=8,
        epochs=2,
        batch_size=8,
        precision="fp32",
        compile=False,
        knn_every=1,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("graph", ["core", "full"])
def test_each_modality_trains_an_encoder_and_the_first_is_kept(graph: str, scenes: Path, tmp_path: Path) -> None:
    wanted = recipe(scenes, cmc=CMCSettings(graph=graph))
    result = train(wanted, tmp_path / "run")
    assert [path.conv1[0].in_channels for path in result.backbone.paths] == [3, 1, 3]  # type: ignore[union-attr]
    assert len(result.method.contrasts) == (4 if graph == "core" else 6)  # type: ignore[arg-type]

    folder = export_run(wanted, result.backbone, tmp_path / "export", 24)
    encoder = cpchub.load(folder, device="cpu")
    assert encoder.encode(scenes / "rgb" / "kitchen" / "01.jpg").shape == (1, 8)
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(encoder(x), result.backbone.paths[0].eval()(x))  # type: ignore[union-attr]


def test_a_network_for_other_channels_is_refused(scenes: Path, tmp_path: Path) -> None:
    wrong = recipe(scenes, data=spec(scenes, "rgb", "depth"))
    with pytest.raises(ArgumentError, match="images of 4 channels, and the network takes 7"):
        train(wrong, tmp_path / "run")


@pytest.mark.parametrize("folder", ["photos/date=2024-01-01", "lr=0.1,run=3", "a=b", "q?x=1&y=2"])
def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(
    folder: str, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scenes / folder).parent.mkdir(exist_ok=True)
    (scenes / "rgb").rename(scenes / folder)
    monkeypatch.chdir(scenes)
    for name in (folder, str(scenes / folder)):
        images = data.load(name, size=16)
        assert images.images.shape == (24, 3, 16, 16)
        assert images.classes == ("kitchen", "office")


def test_modalities_may_lie_in_such_folders_and_in_ones_with_a_comma(scenes: Path) -> None:
    (scenes / "rgb").rename(scenes / "date=2024, rgb")
    (scenes / "depth").rename(scenes / "date=2024,depth")
    images = data.load(f"rgb={scenes}/date=2024, rgb,depth={scenes}/date=2024,depth", size=16)
    assert images.images.shape == (24, 4, 16, 16)


def test_a_path_that_is_not_there_is_not_taken_for_modalities(tmp_path: Path) -> None:
    for name in (f"{tmp_path}/date=2024-01-01", "photos/date=2024-01-01"):
        with pytest.raises(SourceError, match="no data set called"):
            data.load(name)
    with pytest.raises(SourceError, match=r"does not name two modalities or more .* nor is there a folder"):
        data.load("date=2024-01-01")

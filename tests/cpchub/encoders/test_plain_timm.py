"""timm and we compute the same: timm's own networks in an Encoder, and our model folders in a timm without cpchub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from cpchub.catalog.listing import get_spec, list_models
from cpchub.encoders import model_folder
from cpchub.encoders.load import load
from tests.fresh import FreshInterpreters
from tests.tiny_encoder import FACTS, RECIPE

OLDEST_TIMM = "1.0.22"  # the lower bound in pyproject.toml
REPOSITORY = Path(__file__).parents[3]
TIMMS_OWN = (  # one of each family that people use, the smallest that timm has
    "resnet18",
    "test_resnet",
    "test_convnext",
    "test_efficientnet",
    "test_vit",
    "test_byobnet",
    "test_mambaout",
    "resnetv2_18",
    "mobilenetv3_small_050",
)
OF_TIMM = [name for name in list_models(bundled=True) if get_spec(name).architecture in TIMMS_OWN]
WITHOUT_CPCHUB = """
import sys
sys.modules["cpchub"] = None  # importing it would fail
import numpy, timm, torch
folder, x, out, version = sys.argv[1:]
assert version in ("any", timm.__version__), timm.__file__
model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
with torch.inference_mode():
    numpy.save(out, model(torch.from_numpy(numpy.load(x))).numpy())
"""


def some_images(side: int) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def folder_of(name: str, folder: Path) -> Path:
    """A model folder of one of timm's networks, whose batch norms have seen images."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0)
    with torch.no_grad():
        model.train()(torch.randn(4, 3, *model.pretrained_cfg["input_size"][1:]))
    facts = {**FACTS, "architecture": name, "model_args": {}, "input_size": model.pretrained_cfg["input_size"]}
    return model_folder.write(model.eval(), folder, facts=facts, recipe=RECIPE, evaluation=None)


@pytest.mark.parametrize("name", TIMMS_OWN)
def test_a_network_of_timms_gives_the_same_in_an_encoder_bit_for_bit(name: str) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=0).eval()
    torch.manual_seed(0)
    encoder = load(f"timm/{name}", pretrained=False, device="cpu")
    x = some_images(encoder.spec.input_size[1])
    with torch.inference_mode():
        assert torch.equal(encoder(x), theirs(x))
        assert torch.equal(encoder.forward_features(x), theirs.forward_features(x))
        for mine, their in zip(
            encoder.forward_intermediates(x, intermediates_only=True),
            theirs.forward_intermediates(x, intermediates_only=True),
            strict=True,
        ):
            assert torch.equal(mine, their)


Run = Callable[..., "subprocess.CompletedProcess[str]"]  # of a program with arguments, in a folder `cwd`


def features_without_cpchub(run: Run, folder: Path, scratch: Path, version: str) -> Any:
    """What a timm of that version, in an interpreter that cannot import cpchub, makes of `some_images`."""
    x, out = scratch / "x.npy", scratch / "features.npy"
    np.save(x, some_images(load(folder, device="cpu").spec.input_size[1]).numpy())
    done = run(WITHOUT_CPCHUB, folder, x, out, version, cwd=scratch)
    assert done.returncode == 0, done.stderr
    return np.load(out)


def assert_same_features(run: Run, folder: Path, scratch: Path, version: str) -> None:
    encoder = load(folder, device="cpu")
    with torch.inference_mode():
        ours = encoder(some_images(encoder.spec.input_size[1])).numpy()
    assert np.array_equal(features_without_cpchub(run, folder, scratch, version), ours)


@pytest.mark.parametrize("name", OF_TIMM)
def test_a_bundled_encoder_gives_the_same_in_plain_timm(
    fresh_interpreters: FreshInterpreters, name: str, tmp_path: Path
) -> None:
    folder = get_spec(name).folder
    assert folder is not None
    assert_same_features(fresh_interpreters.run, folder, tmp_path, "any")


@pytest.fixture(scope="module")
def oldest_timm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site-packages of a new environment: the oldest timm, and behind it all that is installed here but cpchub."""
    environment = tmp_path_factory.mktemp("oldest-timm") / "env"
    venv.create(environment, symlinks=True)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages]
    done = subprocess.run([*install, f"timm=={OLDEST_TIMM}"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"timm {OLDEST_TIMM} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    # A path in a .pth file comes behind, and its own .pth files, such as that of an editable cpchub, are not read.
    (packages / "rest.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    return packages


@pytest.mark.slow
class TestOldestTimm:
    @pytest.mark.parametrize("name", [*OF_TIMM, "resnet18", "test_vit", "test_convnext"])
    def test_a_published_folder_gives_the_same_features(self, name: str, oldest_timm: Path, tmp_path: Path) -> None:
        bundled = get_spec(name).folder if name in list_models() else None
        folder = shutil.copytree(bundled, tmp_path / name) if bundled else folder_of(name, tmp_path / name)

        def run(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
            command = [oldest_timm.parents[2] / "bin" / "python", "-c", code, *map(str, arguments)]
            return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

        assert_same_features(run, folder, tmp_path, OLDEST_TIMM)

    def test_our_networks_keep_the_contract(self, oldest_timm: Path) -> None:
        files = sorted(
            str(path) for path in (Path(__file__).parents[1] / "architectures").glob("test_architectures*.py")
        )
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *files],
            env={**os.environ, "PYTHONPATH": str(oldest_timm)},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]

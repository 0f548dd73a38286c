"""A public encoder of each format is loaded by its name, and computes what its authors' network does, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

import cpchub
from cpchub.catalog import listing
from cpchub.catalog.listing import get_spec
from cpchub.catalog.origin import ORIGIN, Origin
from cpchub.catalog.spec import read_json
from tests.cpchub.foreign_checkpoints import Vit, features, head, lightning, state, trained
from tests.cpchub.importers import simclr_in_pytorch as simclr
from tests.cpchub.importers.contrast_layouts import CONTRAST_LAYOUTS as LAYOUTS
from tests.cpchub.importers.google_names import numbered
from tests.cpchub.published import Published, bundle, saved, write_entry
from tests.loopback_files import FileServer, asked_for, loopback_files

DATA = Path(__file__).parents[2] / "data"
REAL_CATALOG = listing.catalog_folder()


def of_layout(name: str, **claims: Any) -> Published:
    """A tiny network in one of the layouts that the importer is tested with."""
    format_name, architecture, make = LAYOUTS[name]
    content, forward = make()
    side = 32 if architecture.endswith(("_cifar", "_cpc_resnet50")) else 64
    return Published(format_name, {"checkpoint.pth": saved(content)}, forward, side, claims)


def written_by_tensorflow(folder: str) -> Published:
    """Files and features that TensorFlow itself has made; its sums are not torch's to the last bit."""
    paths = sorted((DATA / folder).glob("model.ckpt-7.*"), key=lambda path: path.suffix != ".index")
    arrays = np.load(DATA / folder / "features.npz")
    images = torch.from_numpy(arrays["pictures_even"]).permute(0, 3, 1, 2) / 255
    expected = torch.from_numpy(arrays["features_even"])

    def forward(x: Tensor) -> Tensor:
        x.resize_(images.shape).copy_(images)  # the network answers for its own images
        return expected

    return Published("google-simclr", {path.name: path.read_bytes() for path in paths}, forward, tolerance=1e-5)


def tonylins() -> Published:
    tensors = simclr.resnet_state()
    nested = {name.removeprefix("state_dict/"): value for name, value in simclr.as_tonylins(tensors).items()}
    return Published("tonylins", {"r.pth": saved({"state_dict": nested})}, lambda x: simclr.forward(tensors, x))


def separius() -> Published:
    """Its format is not named: the file is recognised."""
    tensors = simclr.resnet_state()
    content: dict[str, dict[str, Tensor]] = {"resnet": {}, "head": {}}
    for name, value in simclr.as_separius(tensors).items():
        part, _, rest = name.partition("/")
        content[part][rest] = value
    return Published(None, {"r.pth": saved(content)}, lambda x: simclr.forward(tensors, x))


TINY: dict[str, Callable[[], Published]] = {
    "moco": lambda: of_layout("MoCo v2 without its momentum encoder"),
    "moco-v3": lambda: of_layout("MoCo v3, ResNet"),
    "moco-v3-vit": lambda: of_layout("MoCo v3, ViT-Small"),
    "vissl": lambda: of_layout("VISSL"),
    "lightly": lambda: of_layout("lightly on ImageNet"),
    "bolts-simclr": lambda: of_layout("pl_bolts SimCLR on CIFAR-10"),
    "bolts-cpc": lambda: of_layout("pl_bolts CPC v2"),
    "swav": lambda: of_layout("SwAV of its authors"),
    "swav-several-heads": lambda: of_layout("DeepCluster v2"),
    "simsiam": lambda: of_layout("SimSiam"),
    "pycontrast": lambda: of_layout("PyContrast, InfoMin"),
    "pycontrast-supcon": lambda: of_layout("SupCon of ImageNet"),
    "pycontrast-cmc": lambda: of_layout("PyContrast, CMC"),
    "torchvision": lambda: of_layout("torchvision, a bare state_dict"),
    "google-simclr": lambda: written_by_tensorflow("tf_simclr_v1"),
    "google-simclr-sk": lambda: written_by_tensorflow("tf_simclr_v2_sk"),
    "tonylins": tonylins,
    "separius": separius,
}
UNNAMED = "separius"  # its entries leave the format open: it is recognised


@pytest.fixture
def server(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with loopback_files() as files:
        monkeypatch.setenv("CPCHUB_MIRROR", files.url)
        yield files


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_one_is_that_of_its_authors_and_is_fetched_once(name: str, server: FileServer, tmp_path: Path) -> None:
    published = TINY[name]()
    addresses = write_entry(name, published, tmp_path)
    server.files = {asked_for(address): published.files[file] for file, address in addresses.items()}
    assert_is_that_of_the_authors(cpchub.load(name), published)
    assert server.asked == list(server.files)
    cpchub.load(name)
    assert server.asked == list(server.files), "the second load asked again"


def test_every_format_of_the_catalog_is_covered() -> None:
    origins = [Origin.of(read_json(path), path) for path in REAL_CATALOG.glob(f"*/{ORIGIN}")]
    named = {source.format for origin in origins for source in origin.sources}
    assert named <= {None if name == UNNAMED else name for name in TINY}


def photo_resnet(prefix: str, wrap: Callable[[dict[str, Any]], Any], **more: Tensor) -> Published:
    """torchvision's own ResNet-50, its numbers random, under a prefix."""
    net = trained(resnet50())
    net.fc = nn.Identity()
    return Published(None, {"": saved(wrap({**state(net, prefix), **more}))}, features(net), 224)


def photo_transformer(heads: int, prefix: str, wrap: Callable[[dict[str, Any]], Any]) -> Published:
    net = trained(Vit(width=384, depth=12, heads=heads, side=224))
    return Published(None, {"": saved(wrap(state(net, prefix)))}, net, 224)


def photo_bolts_cifar() -> Published:
    net: Any = resnet50()
    net.conv1, net.maxpool, net.fc = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity(), nn.Identity()
    entries = {**state(trained(net), "encoder."), **state(head(8, 8), "projection.model.")}
    options = {"dataset": "cifar10", "first_conv": False, "maxpool1": False}
    return Published(None, {"": saved(lightning(entries, **options))}, net, 32)


def photo_google(architecture: str) -> Published:
    net: Any = trained(timm.create_model(architecture, num_classes=0))
    files = bundle(numbered(net))
    return Published(None, dict(zip(("index", "data"), files.values(), strict=True)), net, 224)


def _vissl(entries: dict[str, Any]) -> dict[str, Any]:
    return {"classy_state_dict": {"base_model": {"model": {"trunk": entries, "heads": {}}}}}


def _plain(entries: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": 200, "arch": "vit_small" if any("cls_token" in each for each in entries) else "resnet50",
            "state_dict": entries}  # fmt: skip


def _pycontrast(entries: dict[str, Any]) -> dict[str, Any]:
    heads = {f"module.{name}.0.weight": torch.zeros(8, 8) for name in ("head", "head_jig")}
    return {"epoch": 800, "model": {**entries, **heads}}


PROJECTED = {"projection_head.layers.0.weight": torch.zeros(8, 8)}
CLUSTERED = {
    "module.prototypes.prototypes0.weight": torch.zeros(8, 8),
    "module.projection_head.0.weight": torch.zeros(8, 8),
}
# Entries of the catalog, the cheapest of each layout; CPC's 1.3 GB are left to the tiny one and to its shapes.
PHOTOS: dict[str, Callable[[], Published]] = {
    "pcl-v2-resnet50": lambda: photo_resnet("module.encoder_q.", _plain),
    "moco-v3-resnet50-100e": lambda: photo_resnet("module.base_encoder.", _plain),
    "moco-v3-vit-small": lambda: photo_transformer(12, "module.base_encoder.", _plain),
    "instdisc-resnet50": lambda: photo_resnet("_feature_blocks.", lambda entries: {"model_state_dict": entries}),
    "vissl-simclr-resnet50-100e": lambda: photo_resnet("_feature_blocks.", _vissl),
    "lightly-dcl-resnet50": lambda: photo_resnet("backbone.", lightning, **PROJECTED),
    "lightly-dino-vit-small": lambda: photo_transformer(6, "backbone.vit.", lightning),
    "bolts-simclr-resnet50": lambda: photo_resnet(
        "encoder.", lambda entries: lightning(entries | {"projection.model.0.weight": torch.zeros(8, 8)})
    ),
    "bolts-simclr-resnet50-cifar10": photo_bolts_cifar,
    "deepcluster-v2-resnet50-400e": lambda: photo_resnet("module.", lambda entries: entries, **CLUSTERED),
    "simsiam-resnet50": lambda: photo_resnet(
        "module.encoder.", lambda entries: _plain({**entries, "module.predictor.0.weight": torch.zeros(8, 8)})
    ),
    "infomin-resnet50-800e": lambda: photo_resnet("module.encoder.", _pycontrast),
    "dino-resnet50": lambda: photo_resnet("", lambda entries: entries),
    "simclr-resnet50-1x": lambda: photo_google("simclr_resnet50_1x"),
    "simclr-v2-resnet50-1x-sk": lambda: photo_google("simclr_resnet50_1x_sk"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTOS)
def test_an_entry_of_the_catalog_in_its_full_size_is_that_of_its_authors(
    name: str, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "catalog_folder", lambda: REAL_CATALOG)
    published = PHOTOS[name]()
    spec = get_spec(name)
    assert spec.origin is not None
    addresses = [file.address for file in spec.origin.sources[0].files]
    server.files = {
        asked_for(address): content
        for address, content in zip(addresses, published.files.values(), strict=True)
    }  # fmt: skip
    encoder = cpchub.load(name)
    assert (encoder.spec.architecture, encoder.num_features) == (spec.architecture, spec.dim)
    assert encoder.spec.transform == spec.transform
    assert encoder.spec.license == spec.license
    assert_is_that_of_the_authors(encoder, published)
    cpchub.load(name)
    assert server.asked == list(server.files)


def assert_is_that_of_the_authors(encoder: Any, published: Published) -> None:
    x = torch.rand(2, 3, published.side, published.side, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = published.forward(x)
        seen = encoder(x) if expected.ndim == 2 else encoder.forward_features(x)
    assert float(expected.std()) > 1e-3  # a forward that dies out would equal any other
    if published.tolerance:
        torch.testing.assert_close(seen, expected, rtol=1e-6, atol=published.tolerance)
    else:
        assert torch.equal(seen, expected)

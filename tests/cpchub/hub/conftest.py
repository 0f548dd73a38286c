"""The authors of a tiny MoCo v2: its network, its checkpoint, and the server that gives it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cpchub.common import retry as retrying
from cpchub.importers.convert import import_checkpoint
from tests.cpchub.foreign_checkpoints import head, state, torchvision_resnet
from tests.cpchub.hub.tiny_moco import NAME, PATH, write_entry
from tests.loopback_files import FileServer, loopback_files


@pytest.fixture(scope="module")
def network() -> Any:
    return torchvision_resnet(num_classes=8)


@pytest.fixture(scope="module")
def checkpoint(network: Any) -> bytes:
    network.fc, classifier = torch.nn.Identity(), network.fc
    tensors = {**state(network, "module.encoder_q."), **state(head(32, 32, 8), "module.encoder_q.fc.")}
    network.fc = classifier
    content = io.BytesIO()
    torch.save({"epoch": 200, "arch": "resnet18", "state_dict": tensors}, content)
    return content.getvalue()


@pytest.fixture(scope="module")
def described(checkpoint: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config.json of the converted network, without its weights."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "tiny.pth.tar").write_bytes(checkpoint)
    import_checkpoint(folder / "tiny.pth.tar", folder / NAME)
    config: dict[str, Any] = json.loads((folder / NAME / "config.json").read_text())
    del config["cpchub"]["weights"]
    config["cpchub"] |= {"license": "cc-by-nc-4.0", "summary": "A tiny one.", "limits": ["For tests."]}
    return config


@pytest.fixture
def server(
    own_cache: Path, checkpoint: bytes, described: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileServer]:
    """A server with the checkpoint, a catalog that knows it, and no pause between two tries."""
    monkeypatch.setattr(retrying, "wait", lambda _: None)
    write_entry(described)
    with loopback_files() as files:
        files.files[PATH] = checkpoint
        monkeypatch.setenv("CPCHUB_MIRROR", files.url)
        yield files

"""Small checkpoints of a few layouts, saved as files, and what is said when one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cpchub.errors import ImportFormatError
from cpchub.importers.convert import import_checkpoint
from tests.cpchub.foreign_checkpoints import BoltsCpc, head, lightning, state, torchvision_resnet, trained


def saved(folder: Path, content: Any, name: str = "checkpoint.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def moco(**changes: Any) -> dict[str, Any]:
    net = torchvision_resnet()
    return {"epoch": 1, "arch": "resnet18", "state_dict": state(net, "module.encoder_q."), **changes}


def bolts(patch: int = 8, **options: Any) -> dict[str, Any]:
    entries = {**state(trained(BoltsCpc(patch)), "encoder."), **state(head(8, 8), "contrastive_task.")}
    return lightning(entries, **options)


def small_stem() -> Any:
    net = torchvision_resnet()
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 2, bias=False), nn.Identity()
    return trained(net)


def solo() -> dict[str, Any]:
    return lightning({**state(small_stem(), "backbone."), **state(head(8, 8), "projector.")})


def refusal(path: Path, out: Path, **claims: Any) -> str:
    with pytest.raises(ImportFormatError) as error:
        import_checkpoint(path, out, **claims)
    assert not out.exists()
    return str(error.value)

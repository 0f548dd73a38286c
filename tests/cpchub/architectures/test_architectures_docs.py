"""The tables of docs/reference/architectures.md are what timm builds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch

import cpchub.architectures

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "architectures.md"
ROW = re.compile(r"^\| `(\w+)` \| (\d+) \| ([\d.]+) M \|", re.MULTILINE)
ROWS = {name: (int(dim), millions) for name, dim, millions in ROW.findall(PAGE.read_text(encoding="utf-8"))}
OURS = [name for module in cpchub.architectures.__all__ for name in timm.list_models(module=module)]


def test_every_network_of_ours_is_in_a_table() -> None:
    assert sorted(ROWS) == sorted(OURS)


@pytest.mark.parametrize("name", ROWS)
def test_its_dimensions_and_parameters_are_those_of_the_network(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert ROWS[name] == (model.head_hidden_size, f"{millions:.1f}")

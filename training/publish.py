"""Export a trained backbone as a model folder, the folder that `cpchub publish` uploads and plain timm loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpchub import model_folder
from cpchub.model_folder import render_card
from cpchub.network import Network

__all__ = ["export", "render_card"]


def export(
    backbone: Network,
    folder: Path,
    *,
    facts: Mapping[str, Any],
    recipe: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
) -> Path:
    """Write the model folder of a backbone and return it: `cpchub.model_folder.write`, as training calls it."""
    return model_folder.write(backbone, folder, facts=facts, recipe=recipe, evaluation=evaluation)

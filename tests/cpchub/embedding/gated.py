"""An encoder that waits for a test; the workers of a cluster import this file, so it does not import torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.cpchub.images import TinyEncoder
from tests.processes import wait_for


class Gated(TinyEncoder):
    """An encoder that says that it works, by a file of its process, and waits until `gate` is there."""

    def __init__(self, gate: Path) -> None:
        super().__init__()
        self.gate = gate

    def encode(self, images: Any, **options: Any) -> Any:
        if not self.gate.exists():
            (self.gate.parent / f"{os.getpid()}.works").touch()
            wait_for(self.gate.exists, "the gate was not opened")
        return super().encode(images, **options)

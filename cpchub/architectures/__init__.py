"""Networks that timm does not have, registered with timm.

Importing this package is what registers them. `import cpchub` sees to it as soon as timm is imported
(`cpchub/timm_hook.py`); after that `timm.create_model("resnet18_cifar")` works as well.
"""

from __future__ import annotations

import cpchub.architectures.audio  # noqa: F401  (for sound: not in __all__, whose networks take images)
from cpchub.architectures import alexnet, bolts_cpc, cifar_resnet, colour_paths, cpc_resnet, lab_split, simclr_resnet

__all__ = ["alexnet", "bolts_cpc", "cifar_resnet", "colour_paths", "cpc_resnet", "lab_split", "simclr_resnet"]

"""timm's ResNet with the head of newer timm versions: it keeps its pooling, and says how long its vectors are.

In timm 1.0.22, the oldest that we support, a new classifier silently brings average pooling back, and
`head_hidden_size` does not know that "catavgmax" doubles the vector.
"""

from __future__ import annotations

from typing import Any

from timm.models.resnet import ResNet


class PooledResNet(ResNet):
    """timm's ResNet, on which the ResNets of this package build."""

    global_pool: Any
    num_features: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head_hidden_size = self._pooled_width()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier, none for 0; the pooling stays unless another is named."""
        super().reset_classifier(num_classes, self.global_pool.pool_type if global_pool is None else global_pool)
        self.head_hidden_size = self._pooled_width()

    def _pooled_width(self) -> int:
        return int(self.num_features * self.global_pool.feat_mult())

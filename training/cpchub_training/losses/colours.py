"""What keeps colours in the features of a method that is taught to see through them: a view's own colours, foretold.

Jitter teaches a contrastive encoder that colours mean nothing, which is wrong for flowers. As in AugSelf (Lee et al.,
arXiv 2111.09613), a second head asks the features for what the first must not tell; there for how two views were
changed, here for the histogram of colours of one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cpchub_training.losses.precision import without_autocast

EDGES = (-0.75, 0.0, 0.75)  # of a channel's bins, in standard deviations
BINS = (len(EDGES) + 1) ** 3


@torch.no_grad()
def colour_shares(views: Tensor) -> Tensor:
    """The share of each of 64 colours in normalised views: `[N, 3, H, W]` to `[N, 64]`, rows that add up to one.

    Of every second row and column: half as far is no other colour, and a quarter of the work.
    """
    some = views[..., ::2, ::2].flatten(2)  # Nx3xP
    of_channel = torch.stack([some > edge for edge in EDGES]).sum(0)
    of_place = (of_channel[:, 0] * 4 + of_channel[:, 1]) * 4 + of_channel[:, 2]
    places = torch.ones_like(of_place, dtype=torch.float32) / of_place.shape[1]
    return torch.zeros(len(views), BINS, device=views.device).scatter_add_(1, of_place, places)


@without_autocast
def colour_loss(foretold: Tensor, views: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the colours foretold from those that are there, the mean over the views.

    foretold: logits `[N, 64]`. views: normalised, `[N, 3, H, W]`. A head that foretells them exactly has a loss of 0.
    """
    shares = colour_shares(views.float())
    return (torch.xlogy(shares, shares) - shares * foretold.float().log_softmax(1)).sum(1).mean()

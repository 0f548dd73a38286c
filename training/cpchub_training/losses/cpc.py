"""InfoNCE of CPC: bilinear scores without temperature or normalisation, one positive among all candidates."""

from __future__ import annotations

from torch import Tensor

from cpchub_training.losses.precision import without_autocast


@without_autocast
def cpc_info_nce(predictions: Tensor, candidates: Tensor, positive: Tensor) -> Tensor:
    """InfoNCE of CPC (arXiv 1807.03748, eq. 4; 1905.09272, eq. 2), the mean over all predictions.

    `predictions`: `[G, M, D]`, z_hat = W_k c; `candidates`: `[G, N, D]`, the z that the M predictions of the same group
    choose from; `positive`: int64 `[G, M]`, which of the N is the true one. The score is the plain product z_hat . z.
    Predictions of zero give log(N); log(N) minus the loss bounds the mutual information from below.
    """
    logits = predictions.float() @ candidates.float().transpose(1, 2)
    return (logits.logsumexp(2) - logits.gather(2, positive[:, :, None])[:, :, 0]).mean()

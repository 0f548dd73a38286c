"""Optimisers and learning-rate schedules by name: SGD, Adam and AdamW are torch's, LARS is here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
import torch.nn as nn
from torch import Tensor

from cpchub_training.recipes import Recipe

Convention = Literal["google", "torch"]


def build(recipe: Recipe, method: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser over what `method` trains.

    Weight decay, and the adaptation of LARS, apply to matrices and kernels. Norms and biases are exempt unless the
    recipe has `decay_all` (the official code of MoCo and InstDisc decays everything).
    """
    trained = [p for p in method.parameters() if p.requires_grad]
    rest = recipe.weight_decay if recipe.decay_all else 0.0
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": rest},
    ]
    betas = (recipe.momentum, recipe.beta2)
    fused = any(p.is_cuda for p in trained) or None  # one kernel for all tensors; torch would launch several
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=recipe.lr, betas=betas, fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, fused=fused)
        case "lars":
            groups[1]["adapt"] = False
            return LARS(groups, lr=recipe.lr, momentum=recipe.momentum, convention=recipe.lars_convention)
        case "sgd":
            nesterov = recipe.nesterov and recipe.momentum > 0
            return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=fused)


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rates (You et al., arXiv 1708.03888): the step of each tensor is proportional to its norm.

    Two conventions are in use, equal for a constant `lr` and no weight decay, different otherwise:
    "google" (google-research/simclr, lars_optimizer.py): g' = g + wd w; trust = eta |w| / |g'|; v = m v + lr trust g';
    w -= v. "torch" (NVIDIA apex, lightly, solo-learn): trust = eta |w| / (|g| + wd |w|); v = m v + trust g'; w -= lr v.
    When the rate falls, the second scales all of v at once, the first only new gradients.
    Groups with `adapt=False` take plain momentum steps (trust = 1). A tensor or gradient of zeros has trust 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
        convention: Convention = "google",
    ) -> None:
        if convention not in ("google", "torch"):
            raise ValueError(f"convention is 'google' or 'torch', not {convention!r}")
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta, "adapt": True}
        super().__init__(params, defaults)
        self.convention = convention

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        google = self.convention == "google"
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if not weights:
                continue
            lr = group["lr"]
            g = self._gradients(group, weights, google)
            for w in weights:
                if not self.state[w]:
                    self.state[w]["momentum_buffer"] = torch.zeros_like(w)
            v = [self.state[w]["momentum_buffer"] for w in weights]
            torch._foreach_mul_(v, group["momentum"])
            torch._foreach_add_(v, g, alpha=lr if google else 1.0)
            torch._foreach_sub_(weights, v, alpha=1.0 if google else lr)
        return loss

    def _gradients(self, group: dict[str, Any], weights: list[Tensor], google: bool) -> list[Tensor]:
        """Gradients with weight decay, times the trust of each tensor; a kernel for all of them where torch has one."""
        wd, raw = group["weight_decay"], [cast(Tensor, w.grad) for w in weights]
        g = list(torch._foreach_add(raw, weights, alpha=wd))
        if group["adapt"]:
            w_norm = torch.stack(torch._foreach_norm(weights))
            g_norm = torch.stack(torch._foreach_norm(g if google else raw)) + (0.0 if google else wd * w_norm)
            usable = (w_norm > 0) & (g_norm > 0)
            trust = torch.where(usable, group["eta"] * w_norm / g_norm.clamp(min=1e-30), 1.0)
            torch._foreach_mul_(g, trust.unbind())
        return g


def schedule(
    step: int,
    total: int,
    warmup: int,
    cooldown: float | None = None,
    steps: Sequence[tuple[float, float]] | None = None,
    constant: bool = False,
) -> float:
    """The share of the learning rate at `step`: linear warm-up over `warmup` steps, then half a cosine down to 0.

    (arXiv 1608.03983, no restarts.) With `cooldown`, a trapezoid instead: constant until the last `cooldown` share of
    the run, then linear down to 0 (arXiv 2405.18392). With `steps`, pairs of a share of the run and the share of the
    rate from there on, 1 before the first. With `constant`, 1 after the warm-up.
    """
    if step < warmup:
        return (step + 1) / warmup
    if constant:
        return 1.0
    if cooldown is not None:
        return min(1.0, (total - step) / (cooldown * total))
    if steps is not None:
        return next((share for since, share in reversed(steps) if step >= since * total), 1.0)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The recipe's learning rate at `step`."""
    return recipe.lr * schedule(
        step,
        recipe.epochs * steps_per_epoch,
        round(recipe.warmup_epochs * steps_per_epoch),
        cooldown=recipe.cooldown if recipe.schedule == "trapezoid" else None,
        steps=recipe.steps if recipe.schedule == "steps" else None,
        constant=recipe.schedule == "constant",
    )


def independent_of_length(recipe: Recipe, steps_per_epoch: int) -> int:
    """The number of steps, from the start, whose rates and sizes of views do not depend on `recipe.epochs`."""
    total = recipe.epochs * steps_per_epoch
    if recipe.early_sizes:
        return min(
            math.floor(recipe.early_sizes[0][0] * total),
            independent_of_length(replace(recipe, early_sizes=()), steps_per_epoch),
        )
    if recipe.schedule == "trapezoid":
        return math.floor((1 - recipe.cooldown) * total)
    return total if recipe.schedule == "constant" else 0

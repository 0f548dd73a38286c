"""Multinomial logistic regression for several strengths of the penalty at once, on all cores or a GPU, to convergence.

For each C it minimises what scikit-learn's `LogisticRegression` does, C * sum of cross-entropies + |W|^2 / 2, with the
intercepts free. Features of an encoder are strongly correlated, which makes plain L-BFGS stop far from the minimum at
weak penalties (200 iterations were not enough on 50,000 CIFAR-10 features). Here it runs in the eigenbasis of the
features, each direction scaled by the curvature that the loss can have there (Böhning 1992), where some dozens of
iterations do at every C. The penalty stays that of the given coordinates, so the minimum is the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

MEMORY = 20  # pairs of L-BFGS; a pair is no larger than the model
HALVINGS = 30  # of a step, before the float's precision is used up
SUFFICIENT = 1e-4  # Armijo's constant


@dataclass(frozen=True)
class Regressions:
    """One model for each C: `weights` `[K, C, D]`, `intercepts` `[K, C]`, and the iterations that the slowest took."""

    weights: npt.NDArray[np.floating]
    intercepts: npt.NDArray[np.floating]
    n_iter: int

    def logits(self, X: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Logits `[K, N, C]` of features `[N, D]`."""
        return np.asarray(np.matmul(X, self.weights.transpose(0, 2, 1)) + self.intercepts[:, None])


def fit(
    X: npt.NDArray[np.floating],
    codes: npt.NDArray[np.int64],
    strengths: Sequence[float],
    *,
    classes: int | None = None,
    max_iter: int = 500,
    tol: float = 1e-4,
    device: str | torch.device = "cpu",
) -> Regressions:
    """Fit features `[N, D]` to class numbers `[N]`, once for each C of `strengths`.

    tol: a model is done when no component of its mean gradient, in the scaled coordinates, is larger.

    Warns with scikit-learn's `ConvergenceWarning` where `max_iter` is not enough.
    """
    x = torch.from_numpy(np.array(X, copy=True, order="C")).to(device)
    centre = x.mean(dim=0)
    x -= centre  # the intercepts take it up, and no longer pull on the weights
    basis, variances = _eigenbasis(x)
    z = x @ basis  # [N, r]
    n, r, c = len(z), z.shape[1], classes or int(codes.max()) + 1
    penalties = 1 / (torch.tensor(list(strengths), dtype=z.dtype, device=z.device) * n)  # of the mean loss
    scale = (variances / 4 + penalties[:, None]).rsqrt()  # [K, r]
    problem = _Problem(z, torch.from_numpy(codes).to(device), scale, penalties, c)
    solution, iterations, converged = _minimise(problem, max_iter, tol)
    if not converged:
        warnings.warn(f"{max_iter} iterations of L-BFGS were not enough", ConvergenceWarning, stacklevel=2)
    u = solution.reshape(len(scale), r + 1, c)
    weights = basis @ (u[:, :-1] * scale[:, :, None])  # [K, D, C]
    intercepts = 2 * u[:, -1] - centre @ weights
    return Regressions(weights.transpose(1, 2).cpu().numpy(), intercepts.cpu().numpy(), iterations)


def _eigenbasis(x: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal directions `[D, r]` in which centred features `[N, D]` vary, and their variances `[r]`.

    A penalised solution lies in the span of the features, so directions without variance can be left out.
    """
    _, singular, rows = torch.linalg.svd(x, full_matrices=False) if len(x) < x.shape[1] else _from_gram(x)
    keep = singular > singular.max() * max(x.shape) * torch.finfo(x.dtype).eps
    return rows[keep].T.contiguous(), singular[keep].square() / len(x)


def _from_gram(x: Tensor) -> tuple[None, Tensor, Tensor]:
    """The singular values and right vectors through `[D, D]`, for many more rows than columns."""
    eigenvalues, vectors = torch.linalg.eigh((x.T @ x).double())
    return None, eigenvalues.clamp(min=0).sqrt().to(x.dtype), vectors.T.to(x.dtype)


@dataclass(frozen=True)
class _Problem:
    """Mean penalised losses of K models with parameters u `[K, (r + 1) * C]`; the last row is half the intercepts."""

    z: Tensor  # [N, r]
    codes: Tensor  # [N]
    scale: Tensor  # [K, r]
    penalties: Tensor  # [K]
    classes: int

    def of(self, models: Tensor) -> _Problem:
        """The same for some of the models."""
        return _Problem(self.z, self.codes, self.scale[models], self.penalties[models], self.classes)

    def value_and_gradient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """`[K]` and `[K, (r + 1) * C]`. The logits of all models are one matrix product, and so are the gradients."""
        k, n, c = len(u), len(self.z), self.classes
        u = u.reshape(k, -1, c)
        w = u[:, :-1] * self.scale[:, :, None]  # [K, r, C], orthogonal to the weights: the same length
        logits = (self.z @ w.permute(1, 0, 2).reshape(-1, k * c)).reshape(n, k, c) + 2 * u[:, -1]
        log_p = F.log_softmax(logits, dim=2)
        rows = self.codes[:, None].expand(n, k)[:, :, None]
        loss = -log_p.gather(2, rows).squeeze(2).mean(dim=0)
        value = loss + self.penalties / 2 * w.square().sum(dim=(1, 2))
        residual = log_p.exp_().scatter_add_(2, rows, torch.full_like(rows, -1, dtype=log_p.dtype)) / n
        inner = (self.z.T @ residual.reshape(n, k * c)).reshape(-1, k, c).permute(1, 0, 2)
        gradient = (inner + self.penalties[:, None, None] * w) * self.scale[:, :, None]
        return value, torch.cat([gradient, 2 * residual.sum(dim=0)[:, None]], dim=1).flatten(1)


def _minimise(problem: _Problem, max_iter: int, tol: float) -> tuple[Tensor, int, bool]:
    """L-BFGS with backtracking, every model on its own step but all in one evaluation; finished models drop out."""
    k = len(problem.scale)
    u = problem.z.new_zeros(k, (problem.z.shape[1] + 1) * problem.classes)
    solution = u.clone()
    running = torch.arange(k, device=u.device)
    value, gradient = problem.value_and_gradient(u)
    s = y = u.new_zeros(k, 0, u.shape[1])  # the last steps, and how the gradient changed over each
    for iteration in range(max_iter):
        going = gradient.abs().amax(dim=1) > tol
        if not bool(going.all()):
            solution[running[~going]] = u[~going]
            running, u, value, gradient, s, y = (each[going] for each in (running, u, value, gradient, s, y))
            problem = problem.of(going)
        if not len(running):
            return solution, iteration, True
        direction = _direction(gradient, s, y)
        step, value, new_gradient = _backtrack(problem, u, value, gradient, direction)
        s, y = _remember(s, y, step * direction, new_gradient - gradient)
        u = u + step * direction
        # where no step helps any more the float's precision is used up: as good as it gets
        stuck = (step == 0) & (gradient.abs().amax(dim=1, keepdim=True) <= 100 * tol)
        gradient = torch.where(stuck, torch.zeros_like(gradient), new_gradient)
    solution[running] = u
    return solution, max_iter, not bool((gradient.abs().amax(dim=1) > tol).any())


def _remember(s: Tensor, y: Tensor, step: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs `[K, m, P]` with one more; a model whose pair shows no curvature gets zeros, which count nothing."""
    fine = (step * change).sum(dim=1, keepdim=True) > 1e-10 * change.square().sum(dim=1, keepdim=True)
    step, change = ((each * fine)[:, None] for each in (step, change))
    return torch.cat([s[:, -MEMORY + 1 :], step], dim=1), torch.cat([y[:, -MEMORY + 1 :], change], dim=1)


def _direction(gradient: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """`-H g` with L-BFGS's H in its compact form (Byrd, Nocedal & Schnabel 1994, equation 3.1), a model a row."""
    if not s.shape[1]:
        return -gradient
    sy = s @ y.transpose(1, 2)  # [K, m, m]
    curvature = sy.diagonal(dim1=1, dim2=2)
    empty = curvature <= 0
    r = sy.triu() + torch.diag_embed(empty.to(sy.dtype))
    yy = y @ y.transpose(1, 2)
    last = yy.diagonal(dim1=1, dim2=2)[:, -1]
    gamma = torch.where(empty[:, -1], torch.ones_like(last), curvature[:, -1] / last.clamp(min=1e-30))[:, None, None]
    sg, yg = s @ gradient[:, :, None], y @ gradient[:, :, None]  # [K, m, 1]
    p = torch.linalg.solve_triangular(r, sg, upper=True)
    inner = (torch.diag_embed(curvature) + gamma * yy) @ p - gamma * yg
    q = torch.linalg.solve_triangular(r.transpose(1, 2), inner, upper=False)
    h = gamma * gradient[:, :, None] + s.transpose(1, 2) @ q - gamma * (y.transpose(1, 2) @ p)
    return -h.squeeze(2)


def _backtrack(
    problem: _Problem, u: Tensor, value: Tensor, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Steps `[K, 1]`, 1 or halved until the loss falls enough, with values and gradients there; 0 where none does."""
    slope = (gradient * direction).sum(dim=1)
    downhill = slope < 0
    direction.copy_(torch.where(downhill[:, None], direction, -gradient))
    slope = torch.where(downhill, slope, -gradient.square().sum(dim=1))
    noise = 4 * torch.finfo(value.dtype).eps * value.abs()  # falls below it cannot be told from none
    step = torch.ones_like(value)
    for _ in range(HALVINGS):
        new_value, new_gradient = problem.value_and_gradient(u + step[:, None] * direction)
        enough = new_value <= value + SUFFICIENT * step * slope + noise
        if bool(enough.all()):
            return step[:, None], new_value, new_gradient
        step = torch.where(enough, step, step / 2)
    step = torch.where(enough, step, torch.zeros_like(step))
    new_value, new_gradient = problem.value_and_gradient(u + step[:, None] * direction)
    return step[:, None], new_value, new_gradient

"""Multinomial logistic regression for several strengths of the penalty at once, on all cores or a GPU, to convergence.

For each C it minimises what scikit-learn's `LogisticRegression` does, C * sum of cross-entropies + |W|^2 / 2, with the
intercepts free. Labels that few features separate leave almost no curvature at a weak penalty, and features of an
encoder are strongly correlated. L-BFGS took up to a thousand iterations there. Newton's method takes about ten steps
at every C. Each step is solved by conjugate gradients, which never build the Hessian, in the eigenbasis of the features
and preconditioned by the Hessian's diagonal (Nocedal & Wright 2006, chapter 7).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

INNER = 250  # steps of conjugate gradients within a step of Newton's method
FORCING = 0.1  # the largest share of the gradient that an inner solution may leave
HALVINGS = 30  # of a step, before the float's precision is used up
SUFFICIENT = 1e-4  # Armijo's constant
NO_CURVATURE = 1e-12  # where a class is certain everywhere, and nothing is left to scale by
SMALL = 1 << 23  # multiplications of a product that one thread does as fast as two


@dataclass(frozen=True)
class Regressions:
    """One model for each C: `weights` `[K, C, D]`, `intercepts` `[K, C]`, and the steps that the slowest took."""

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
    used: npt.NDArray[np.bool_] | None = None,
    weights: npt.NDArray[np.floating] | None = None,
    classes: int | None = None,
    max_iter: int = 100,
    tol: float = 1e-4,
    device: str | torch.device = "cpu",
) -> Regressions:
    """Fit features `[N, D]` to class numbers `[N]`, once for each C of `strengths`.

    used: which rows each model learns from, `[K, N]`; all of them by default.
    weights: what each row counts, `[N]`; one by default.
    tol: a model is done when no component of its mean gradient, scaled by its curvature, is larger.

    Warns with scikit-learn's `ConvergenceWarning` where `max_iter` is not enough.
    """
    x = torch.from_numpy(np.array(X, copy=True, order="C")).to(device)
    centre = x.mean(dim=0)
    x -= centre  # the intercepts take it up, and no longer pull on the weights
    k, c = len(strengths), classes or int(codes.max()) + 1
    with _one_thread(small=len(x) * min(x.shape) * k * c < SMALL):
        basis = _eigenbasis(x)
        z = torch.cat([x @ basis, x.new_ones(len(x), 1)], dim=1)  # [N, r + 1], the last column for the intercepts
        rows = torch.ones(len(z), k) if used is None else torch.from_numpy(used.T.copy())
        rows = rows.to(z)
        if weights is not None:
            rows = rows * torch.from_numpy(np.ascontiguousarray(weights)).to(z)[:, None]
        counts = rows.sum(dim=0)
        penalties = 1 / (torch.tensor(list(strengths), dtype=z.dtype, device=z.device) * counts)  # of the mean loss
        problem = _Problem(z, torch.from_numpy(codes).to(device), rows / counts, penalties, c)
        solution, iterations, converged = _minimise(problem, max_iter, tol)
        found = basis @ solution[:-1].permute(1, 0, 2)  # [K, D, C]
    if not converged:
        warnings.warn(f"{max_iter} iterations of Newton's method were not enough", ConvergenceWarning, stacklevel=2)
    intercepts = solution[-1] - centre @ found
    return Regressions(found.transpose(1, 2).cpu().numpy(), intercepts.cpu().numpy(), iterations)


@contextmanager
def _one_thread(*, small: bool) -> Iterator[None]:
    """Small products on one thread of torch: others would wait for it longer than they work, above all while the
    threads of numpy are still awake. Fits on 100 labels took 133 ms on two cores, and 53 ms on one thread."""
    threads = torch.get_num_threads()
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _eigenbasis(x: Tensor) -> Tensor:
    """Orthonormal directions `[D, r]` in which centred features `[N, D]` vary.

    A penalised solution lies in the span of the features, so directions without variance can be left out.
    """
    _, singular, rows = torch.linalg.svd(x, full_matrices=False) if len(x) < x.shape[1] else _from_gram(x)
    keep = singular > singular.max() * max(x.shape) * torch.finfo(x.dtype).eps
    return rows[keep].T.contiguous()


def _from_gram(x: Tensor) -> tuple[None, Tensor, Tensor]:
    """The singular values and right vectors through `[D, D]`, for many more rows than columns."""
    eigenvalues, vectors = torch.linalg.eigh((x.T @ x).double())
    return None, eigenvalues.clamp(min=0).sqrt().to(x.dtype), vectors.T.to(x.dtype)


@dataclass(frozen=True)
class _Problem:
    """Mean penalised losses of K models with parameters w `[r + 1, K, C]`; the last row is the intercepts."""

    z: Tensor  # [N, r + 1]
    codes: Tensor  # [N]
    shares: Tensor  # [N, K], what each row counts in the mean of each model
    penalties: Tensor  # [K]
    classes: int

    def of(self, models: Tensor) -> _Problem:
        """The same for some of the models."""
        return _Problem(self.z, self.codes, self.shares[:, models], self.penalties[models], self.classes)

    def logits(self, w: Tensor) -> Tensor:
        """`[N, K, C]`; those of all models are one matrix product."""
        return (self.z @ w.flatten(1)).reshape(len(self.z), *w.shape[1:])

    def back(self, of_rows: Tensor) -> Tensor:
        """What rows `[N, K, C]` say of the parameters, `[r + 1, K, C]`."""
        return (self.z.T @ of_rows.flatten(1)).reshape(-1, *of_rows.shape[1:])

    def penalty(self, w: Tensor) -> Tensor:
        """The gradient of the penalty; the intercepts are free."""
        pull = w * self.penalties[:, None]
        pull[-1] = 0
        return pull

    def value(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The losses `[K]` and the log-probabilities `[N, K, C]`."""
        log_p = F.log_softmax(self.logits(w), dim=2)
        right = self.codes[:, None].expand(log_p.shape[:2])[:, :, None]
        loss = -(log_p.gather(2, right).squeeze(2) * self.shares).sum(dim=0)
        return loss + self.penalties / 2 * w[:-1].square().sum(dim=(0, 2)), log_p

    def slopes(self, w: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient and the Hessian's diagonal, `[r + 1, K, C]`, where the probabilities are p `[N, K, C]`."""
        shares = self.shares[:, :, None]
        right = self.codes[:, None].expand(p.shape[:2])[:, :, None]
        residual = p.scatter_add(2, right, torch.full_like(right, -1, dtype=p.dtype)) * shares
        spread = (p * (1 - p) * shares).flatten(1)
        curvature = (self.z.square().T @ spread).reshape(w.shape) + self.penalty(torch.ones_like(w))
        return self.back(residual) + self.penalty(w), curvature.clamp(min=NO_CURVATURE)

    def hessian(self, p: Tensor, direction: Tensor) -> Tensor:
        """The Hessian's product with a direction `[r + 1, K, C]`."""
        change = p * self.logits(direction)
        change = (change - p * change.sum(dim=2, keepdim=True)) * self.shares[:, :, None]
        return self.back(change) + self.penalty(direction)


def _minimise(problem: _Problem, max_iter: int, tol: float) -> tuple[Tensor, int, bool]:
    """Newton's method with backtracking, every model on its own step but all in one evaluation; finished ones drop
    out."""
    w = problem.z.new_zeros(problem.z.shape[1], len(problem.penalties), problem.classes)
    solution = w.clone()
    running = torch.arange(w.shape[1], device=w.device)
    value, log_p = problem.value(w)
    stuck = torch.zeros_like(running, dtype=torch.bool)
    for iteration in range(max_iter + 1):
        gradient, curvature = problem.slopes(w, log_p.exp())
        worst = (gradient.abs() * curvature.rsqrt()).amax(dim=(0, 2))
        # where no step helps any more the float's precision is used up: as good as it gets
        going = (worst > tol) & ~(stuck & (worst <= 1000 * tol))
        solution[:, running[~going]] = w[:, ~going]
        if not bool(going.any()):
            return solution, iteration, True
        if iteration == max_iter:
            break
        running, value, stuck = running[going], value[going], stuck[going]
        w, gradient, curvature, log_p = (each[:, going] for each in (w, gradient, curvature, log_p))
        problem = problem.of(going)
        direction = _newton(problem, log_p.exp(), gradient, curvature)
        step, new_value, log_p = _backtrack(problem, w, value, gradient, direction)
        w = w + step[:, None] * direction
        stuck, value = value - new_value <= 4 * torch.finfo(value.dtype).eps * value.abs(), new_value
    solution[:, running] = w
    return solution, max_iter, False


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The products of each model, `[K]`, of `[r + 1, K, C]`."""
    return (a * b).sum(dim=(0, 2))


def _newton(problem: _Problem, p: Tensor, gradient: Tensor, curvature: Tensor) -> Tensor:
    """Newton's directions, solved as exactly as they are worth: the nearer the minimum, the more so."""
    rest = -gradient
    found, scaled = torch.zeros_like(rest), rest / curvature
    search, size = scaled.clone(), _dot(rest, scaled)
    enough = size * torch.sqrt(size).clamp(max=FORCING**2)
    for _ in range(INNER):
        pushed = problem.hessian(p, search)
        length = _dot(search, pushed)
        going = (size > enough) & (length > 0)
        if not bool(going.any()):
            break
        step = torch.where(going, size / length, torch.zeros_like(size))[:, None]
        found, rest = found + step * search, rest - step * pushed
        scaled = rest / curvature
        new_size = _dot(rest, scaled)
        ratio = torch.where(going, new_size / size, torch.zeros_like(size))[:, None]
        search, size = scaled + ratio * search, torch.where(going, new_size, size)
    return found


def _backtrack(
    problem: _Problem, w: Tensor, value: Tensor, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Steps `[K]`, 1 or halved until the loss falls enough, with losses and log-probabilities there; 0 where none
    does."""
    slope = _dot(gradient, direction)
    noise = 4 * torch.finfo(value.dtype).eps * value.abs()  # falls below it cannot be told from none
    step = torch.ones_like(value)
    for _ in range(HALVINGS):
        new_value, log_p = problem.value(w + step[:, None] * direction)
        enough = new_value <= value + SUFFICIENT * step * slope + noise
        if bool(enough.all()):
            return step, new_value, log_p
        step = torch.where(enough, step, step / 2)
    step = torch.where(enough, step, torch.zeros_like(step))
    return step, *problem.value(w + step[:, None] * direction)

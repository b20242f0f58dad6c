"""The largest eigenvalues and the trace of a loss's Hessian, of which only products are computed.

The eigenvalues are SciPy's ``eigsh``: the one maintained solver that drags in nothing. Of the
packages for Hessians, curvlinops brings BackPACK, linear_operator and five more, and
hessian-eigenthings is an alpha.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_dice.probes.calibration import mean_and_error
from lightning_dice.probes.objective import Objective

EIGENVALUES = 3
TOLERANCE = 1e-3
"""Relative error at which an eigenvalue has converged."""
RESTARTS = 60
SAMPLES = 20


def top_eigenvalues(
    objective: Objective, count: int = EIGENVALUES, *, seed: int = 0, restarts: int = RESTARTS
) -> list[float]:
    """The algebraically largest eigenvalues of the Hessian at the weights, descending.

    Args:
        objective: The loss.
        count: How many.
        seed: Of the vector that the search begins with.
        restarts: After how many of Lanczos' restarts to give up.

    Raises:
        ArithmeticError: If there are no more weights than that, they have not converged, or the
            Hessian is not finite.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    size = objective.layout.size
    if size <= count:
        raise ArithmeticError(f"there are only {size} weights")
    start = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    product = _product(objective)

    def matvec(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        result: np.ndarray[Any, Any] = product(torch.from_numpy(vector.reshape(-1))).cpu().numpy()
        return result

    operator = LinearOperator((size, size), matvec=matvec, dtype=np.float64)
    try:
        values = eigsh(
            operator,
            k=count,
            which="LA",
            v0=start.numpy(),
            tol=TOLERANCE,
            maxiter=restarts,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence as error:
        found = len(error.eigenvalues)
        told = f"{found} of {count} eigenvalues converged, restarts: {restarts}"
        raise ArithmeticError(told) from error
    return sorted(map(float, values), reverse=True)


def trace(objective: Objective, *, samples: int = SAMPLES, seed: int = 0) -> tuple[float, float]:
    """The trace of the Hessian at the weights, and its standard error.

    Hutchinson's estimate: the mean of ``v H v`` over vectors of random signs.

    Args:
        objective: The loss.
        samples: How many vectors, 2 or more.
        seed: Of the vectors.

    Raises:
        ArithmeticError: If the Hessian is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    product = _product(objective)
    values = []
    for _ in range(samples):
        bits = torch.randint(2, (objective.layout.size,), generator=generator)
        signs = (2 * bits - 1).double()
        values.append(float(signs @ product(signs).cpu()))
    return mean_and_error(values)


def _product(objective: Objective) -> Callable[[Tensor], Tensor]:
    """The Hessian times a vector in double precision, wherever and in whatever the weights are."""

    def product(vector: Tensor) -> Tensor:
        result = objective.hessian_product(objective.weights, vector.to(objective.weights))
        if not bool(result.isfinite().all()):
            raise ArithmeticError("the Hessian is not finite")
        return result.double()

    return product

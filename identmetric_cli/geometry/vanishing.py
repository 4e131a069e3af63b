"""Pairs that have no curve to be solved for, whatever a solver says: their numbers cannot tell their ends apart.

Where latents are huge, one rounding of them is longer than a step of a curve. Where decoders are saturated, their
values do not follow the latents: every curve rests at its first value, jumps between two nodes and rests at its last,
and the energy, whose gradient is zero there, looks like a minimum.
"""

import numpy as np
from jaxtyping import Float, Int

from identmetric_cli.geometry.energy import ROUNDINGS
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.starts import Problem


def told_apart(
    problem: Problem,
    status: Int[np.ndarray, " pairs"],
    lengths: Float[np.ndarray, " pairs"],
    velocity: Float[np.ndarray, "pairs 2 latent"],
    n: int,
) -> Int[np.ndarray, " pairs"]:
    """The solver's status, or `degenerate` where steps are roundings of latents or no velocity leaves the ends.

    Equal ends are `identical_endpoints`, unless they decode to what is no number.
    """
    starts, ends = problem.starts, problem.ends
    rounding = ROUNDINGS * n * np.finfo(starts.dtype).eps * np.maximum(np.abs(starts), np.abs(ends))
    indistinct = np.all(np.abs(ends - starts) <= rounding, axis=1)
    at_rest = np.all(velocity == 0, axis=(1, 2))
    solved = np.isin(status, (Status.converged, Status.max_iter))
    status = np.where(solved & (indistinct | at_rest), Status.degenerate, status)
    identical = np.all(starts == ends, axis=1)
    return np.where(identical, np.where(np.isfinite(lengths), Status.identical_endpoints, Status.nonfinite), status)

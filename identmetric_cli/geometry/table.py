"""What is known of each solved pair: its status, its measures and its certificates, one row a pair."""

from typing import NamedTuple

import numpy as np

from identmetric_cli.geometry.lbfgs import Status


class GeodesicTable(NamedTuple):
    """One row a pair. Lengths are in data units, energies in squared data units."""

    status: np.ndarray
    """`Status` of each pair; only `converged` rows are answers."""
    length: np.ndarray
    energy: np.ndarray
    chord: np.ndarray
    """|F(a) - F(b)|, a lower bound of every length between a and b under a metric; zero for a metric tensor."""
    euclidean_latent: np.ndarray
    """|a - b|, which retraining does not preserve."""
    straight_length: np.ndarray
    """Length of the straight latent line on the same grid."""
    straight_energy: np.ndarray
    bound_gap: np.ndarray
    """(length - chord) / length."""
    speed_gap: np.ndarray
    """1 - length^2 / energy: zero at constant speed."""
    gradient: np.ndarray
    """Norm of the energy's gradient in units of its own metric, over 2 sqrt(energy). Its square estimates the share
    of the energy that is still to be gained."""
    refinement: np.ndarray
    """Relative change of the length from n to 2 n segments."""
    start_spread: np.ndarray
    """Energy of the worst start above that of the best, once both were solved on the coarsest grid, relative; NaN
    where fewer than two arrived."""
    smallest_singular_value: np.ndarray
    """Of F's Jacobian along the curve, in data units per latent unit, or the root of a metric tensor's smallest
    eigenvalue; near zero a latent direction has collapsed."""
    disagreement: np.ndarray
    """Largest standard deviation of the members along the curve, in data units."""
    disagreement_ratio: np.ndarray
    """The same over the largest at the codes of data; NaN without codes."""
    crosses_gap: np.ndarray
    """The curve passes where the members disagree more than at any code of data."""
    iterations: np.ndarray
    """Evaluations of energy and gradient over all grids and starts."""
    curve: np.ndarray
    """Nodes in latent space, (pairs, n + 1, latent)."""
    velocity: np.ndarray
    """Initial velocities at both ends, (pairs, 2, latent): logarithmic maps once scaled to the length."""

    @property
    def converged(self) -> np.ndarray:
        """Rows that are answers."""
        return self.status == Status.converged


def joined(tables: list[GeodesicTable]) -> GeodesicTable:
    """The rows of several tables."""
    return GeodesicTable(*(np.concatenate(columns) for columns in zip(*tables, strict=True)))

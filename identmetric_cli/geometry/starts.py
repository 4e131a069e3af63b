"""Where the optimiser starts: the straight line, bent lines, and a path between codes of data.

A straight line can be a saddle: on a ridge between its ends the gradient vanishes, and no local method leaves it.
Bent lines fall off to a side. The bends are the same for every pair, in units of its own metric, so that a row
depends on its pair alone.
"""

from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry import curves
from identmetric_cli.geometry.codes import Codes, graph_curves
from identmetric_cli.geometry.estimators import Estimator

BENT_MODES = slice(0, 3, 2)
"""Modes 1 and 3, which look the same from both ends: the distance from a to b is that from b to a."""
GRAPH_MODES = 5
BEND = 0.3
"""Length of a bend over that of the line, in the metric of the line: a tenth of a flat space's energy."""
SEED = 0


class Problem(NamedTuple):
    """What is fixed while a pair is solved; a leading axis `pairs` everywhere."""

    starts: Float[Array, "pairs latent"]
    ends: Float[Array, "pairs latent"]
    scale: Float[Array, "pairs latent latent"]
    decoded: Float[Array, "pairs 2 decoders data"]
    """All members at both ends."""


def starting_curves(
    problem: Problem, family: str, nodes: int, tries: int, codes: Codes | None, estimator: Estimator
) -> Float[np.ndarray, "tries*pairs size latent"]:
    """Variables y of `tries` starting curves a pair, all pairs of the first try first."""
    starts = _in_modes(problem, nodes, tries, codes, estimator)
    if family == "modes":
        return np.concatenate(starts)
    basis = curves.basis("modes", nodes, nodes - 1, nodes, problem.starts.dtype)
    size = curves.count(family, nodes)
    nodewise = [np.asarray(curves.points(*problem[:3], y, basis)) for y in starts]
    return np.concatenate([curves.coefficients(family, curve, problem.scale, size) for curve in nodewise])


def _in_modes(
    problem: Problem, nodes: int, tries: int, codes: Codes | None, estimator: Estimator
) -> list[Float[np.ndarray, "pairs modes latent"]]:
    pairs, dimension = problem.starts.shape
    modes = nodes - 1
    starts = [np.zeros((pairs, modes, dimension), problem.starts.dtype)]
    span = np.linalg.solve(problem.scale, (problem.ends - problem.starts)[..., None])[..., 0]
    size = BEND * np.linalg.norm(span.astype(np.float64), axis=1)[:, None, None]
    generator = np.random.default_rng(SEED)
    for _ in range(tries - 1 - (codes is not None and tries > 2)):
        bend = np.zeros((modes, dimension))
        bend[BENT_MODES] = generator.normal(size=bend[BENT_MODES].shape)
        starts.append((size * bend / max(np.linalg.norm(bend), 1e-30)).astype(problem.starts.dtype))
    if codes is not None and tries > 2:
        paths = graph_curves(codes, problem.starts, problem.ends, problem.decoded, nodes, estimator)
        y = curves.coefficients("modes", paths, problem.scale, modes)
        y[:, GRAPH_MODES:] = 0
        starts.append(y)
    return starts

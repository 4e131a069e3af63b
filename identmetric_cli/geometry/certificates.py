"""What is told of a solved pair beside its curve: measures, bounds that every length obeys, and signs of trouble."""

import numpy as np
from jax import Array

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry import lbfgs
from identmetric_cli.geometry.codes import Codes
from identmetric_cli.geometry.ends import frames, leaving
from identmetric_cli.geometry.energy import decode_rows, disagreement_of, energy, length, squared_steps, steps_of
from identmetric_cli.geometry.estimators import Estimator
from identmetric_cli.geometry.lanes import Settings, curve_points
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.starts import Problem
from identmetric_cli.geometry.table import GeodesicTable
from identmetric_cli.geometry.vanishing import told_apart
from identmetric_cli.types import Decode


def certified(
    decode: tuple[Decode, ...],
    problem: Problem,
    state: lbfgs.State,
    spread: np.ndarray,
    codes: Codes | None,
    settings: Settings,
) -> GeodesicTable:
    """What the rows report: measures on n segments and their change on twice as many."""
    nodes, size, estimator = settings.nodes, settings.size, settings.estimator
    y = np.where(np.isfinite(state.y), state.y, 0.0)
    fine = np.asarray(curve_points(problem, y, family=settings.family, n=nodes, nodes=2 * nodes))
    line = np.asarray(curve_points(problem, 0 * y, family=settings.family, n=nodes, nodes=nodes))
    identical = np.all(problem.starts == problem.ends, axis=1)
    fine, line = (np.where(identical[:, None, None], problem.starts[:, None], each) for each in (fine, line))
    fine_steps, steps, variance, away = _along(decode, fine, size, estimator)
    (straight,) = squared_steps(decode, line, size, estimator)
    chords = length(np.asarray(steps_of(problem.decoded, estimator.chord)))
    lengths, energies = length(steps), energy(steps.astype(np.float64))
    positive = energies > 0
    safe_lengths, safe_energies = np.where(positive, lengths, 1.0), np.where(positive, energies, 1.0)
    curve = fine[:, ::2]
    velocity, least = frames(decode, curve, away, estimator, settings.batch_size)
    disagreement = np.sqrt(variance.max(axis=1))
    gradient = np.where((state.status == Status.nonfinite)[:, None], np.nan, state.gradient.astype(np.float64))
    most = np.sqrt(codes.disagreement.max()) if codes is not None else np.nan
    return GeodesicTable(
        status=told_apart(problem, state.status, lengths, velocity, nodes),
        length=lengths,
        energy=energies,
        chord=chords,
        euclidean_latent=np.linalg.norm((problem.ends - problem.starts).astype(np.float64), axis=1),
        straight_length=length(straight),
        straight_energy=energy(straight.astype(np.float64)),
        bound_gap=(lengths - chords) / safe_lengths,
        speed_gap=1 - lengths**2 / safe_energies,
        gradient=np.linalg.norm(gradient, axis=1) / (2 * np.sqrt(safe_energies)),
        refinement=np.abs(length(fine_steps) - lengths) / safe_lengths,
        start_spread=spread,
        smallest_singular_value=least,
        disagreement=disagreement,
        disagreement_ratio=disagreement / most if most > 0 else np.full_like(disagreement, np.nan),
        crosses_gap=disagreement > most,
        iterations=state.evaluations,
        curve=curve,
        velocity=velocity,
    )


def _along(
    decode: tuple[Decode, ...], fine: np.ndarray, size: int, estimator: Estimator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Squared steps on 2 n and on n segments, the members' disagreement at the nodes, and velocities at the ends."""

    def rows(points: np.ndarray) -> tuple[Array, Array, Array, Array]:
        x = decode_rows(decode, points, size)
        return steps_of(x, estimator), steps_of(x[:, ::2], estimator), disagreement_of(x), leaving(x[:, ::2])

    return in_batches(rows, (fine,), size // fine.shape[1])

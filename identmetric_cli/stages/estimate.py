"""How long a question will take, from a small part of it: before hours are spent that nobody asked for."""

import time

import numpy as np

from identmetric_cli.config import Geodesic
from identmetric_cli.models import EnsembleVAE
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model
from identmetric_cli.stages.geodesic import training_items
from identmetric_cli.stages.pairs import solve_pairs

BATCHES = 4


def estimated_seconds(run: Run, items: np.ndarray, pairs: np.ndarray, settings: Geodesic) -> float:
    """About how long `pairs` of `items` take: a few batches of them, drawn evenly, are solved and extrapolated.

    The first time through compiles and is not counted. What happens before the first pair, such as moving ends,
    counts once, and the rest by the number of pairs.
    """
    chosen = pairs[np.linspace(0, len(pairs) - 1, min(BATCHES * settings.batch_size, len(pairs))).astype(int)]
    model, training = load_model(run), training_items(run)
    _timed(model, items, chosen, settings, training)
    before, solving = _timed(model, items, chosen, settings, training)
    return before + solving * len(pairs) / len(chosen)


def _timed(
    model: EnsembleVAE, items: np.ndarray, pairs: np.ndarray, settings: Geodesic, training: np.ndarray | None
) -> tuple[float, float]:
    """Seconds before and after the first sign of progress."""
    times = [time.perf_counter()]
    solve_pairs(model, items, pairs, settings, training, lambda done, total: times.append(time.perf_counter()))
    return times[1] - times[0], time.perf_counter() - times[1]

"""What do geodesics add over plain distances in data space, which need no model at all?

A chord |F(a) - F(b)| is the plain distance of the decoded ends, and a metric's curve is never shorter. If most curves
are hardly longer than their chords, the manifold is flat where they run, or decoders have more latent dimensions than
the data have values, and curves go straight through data space. And if lengths put the pairs in the order of the
distances |x_a - x_b| of the items, whatever is done with that order could be done without a model. In neither case is
it a merit of lengths that they survive retraining.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from identmetric_cli.analysis.evidence import PAIRS_NEEDED

NEARLY_STRAIGHT = 1.01
"""Half of the curves are then less than 1 % longer than their chord: what a coarse grid alone may cost."""
SAME_ORDER = 0.99
"""Above what two runs of a good model have with each other: a different order would not be a stable one."""


@dataclass(frozen=True)
class OverDataSpace:
    """Lengths against plain distances; None where there is nothing to compare, or too few pairs for an order."""

    pairs: int
    """that have a length and a chord in every run"""
    length_over_chord: float | None
    """median over runs and pairs"""
    spearman_ambient: float | None
    """rank correlation over pairs of the mean length over runs with the distance of the items"""
    spearman_decoded: float | None
    """the same with the mean chord"""
    adds_nothing: bool | None
    """the ratio is below 1.01, or the rank correlation with the distance of the items above .99"""


def over_data_space(
    length: Float[np.ndarray, "runs pairs"],
    chord: Float[np.ndarray, "runs pairs"],
    ambient: Float[np.ndarray, " pairs"],
) -> OverDataSpace:
    """Lengths against their chords and the distances of the items, over pairs that are known in every run."""
    known = np.isfinite(length).all(axis=0) & (np.isfinite(chord) & (chord > 0)).all(axis=0)
    length, chord, ambient = length[:, known], chord[:, known], ambient[known]
    ratio = float(np.median(length / chord)) if length.size else None
    lengths = length.mean(axis=0)
    of_items, of_chords = (_spearman(lengths, each) for each in (ambient, chord.mean(axis=0)))
    nothing = None if ratio is None else ratio < NEARLY_STRAIGHT or (of_items or 0.0) > SAME_ORDER
    return OverDataSpace(int(known.sum()), ratio, of_items, of_chords, nothing)


def _spearman(one: Float[np.ndarray, " pairs"], other: Float[np.ndarray, " pairs"]) -> float | None:
    if len(one) < PAIRS_NEEDED or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)

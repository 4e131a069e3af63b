"""How often do the intervals of `identmetric compare` hold the true ratio of dispersions? A simulation.

A distance of run r and pair p is m_p (1 + s h_p z_rp) (1 + f w_r). Its size m_p and the size of its noise h_p come
from effects of both items, z has a share from items of the run and one of the pair alone, and w is a factor of the
run on all its distances. The ratio wanted is one of population CVs, sqrt(s^2 h_p^2 + f^2 (1 + s^2 h_p^2)), in the
mean over pairs of any items. In brackets: the upper end of the interval over the lower one, in the median.

    python benchmarks/coverage.py --trials 1000
"""

import argparse
from typing import NamedTuple

import numpy as np

from identmetric_cli.analysis import coefficient_of_variation, distinct, ratio_interval


class Kind(NamedTuple):
    """Noise s and factor f of a run on the measure and on its baseline, and what items share."""

    noise: tuple[float, float]
    factor: tuple[float, float] = (0.0, 0.0)
    common: float = 0.0
    """correlation of the two factors"""
    effects: float = 0.0
    """standard deviation of an item's effect on the log of the noise"""
    shared: float = 0.0
    """share of the noise that comes from items of the run"""


KINDS = {
    "independent noise": Kind((0.03, 0.05)),
    "effects of items": Kind((0.03, 0.05), effects=0.4, shared=0.5),
    "factors on both": Kind((0.03, 0.05), (0.05, 0.08), effects=0.3, shared=0.5),
    "factor on the baseline": Kind((0.03, 0.03), (0.0, 0.05), effects=0.3, shared=0.5),
    "large factors on both": Kind((0.02, 0.02), (0.1, 0.1), effects=0.3, shared=0.3),
    "a common factor": Kind((0.02, 0.02), (0.1, 0.1), common=0.9, effects=0.3, shared=0.3),
}
DRAWS = ("100 of 200", "all of 15", "10 of 60")
RUNS = (3, 5, 10)


def draw(rng: np.random.Generator, how: str) -> np.ndarray:
    """Pairs of items, as `compare` draws them, or all of a few."""
    if how == "all of 15":
        return np.stack(np.triu_indices(15, 1), axis=1)
    count, size = map(int, how.split(" of "))
    pairs = np.stack([rng.choice(size, count, replace=False) for _ in range(2)], axis=1)
    return pairs[distinct(pairs)]


def noise_sizes(rng: np.random.Generator, kind: Kind, pairs: np.ndarray) -> np.ndarray:
    """h of the measure and of its baseline, (2, pairs): partly the same effects."""
    of_items = kind.effects * rng.normal(size=(2, pairs.max() + 1))
    one, other = of_items[:, pairs].sum(axis=2)
    return np.exp([one, (one + other) / 2])


def simulate(rng: np.random.Generator, kind: Kind, pairs: np.ndarray, runs: int) -> np.ndarray:
    """Tables of the measure and of its baseline, (2, runs, pairs)."""
    items = pairs.max() + 1
    size = np.maximum(4 + 0.4 * rng.normal(size=(2, 1, items))[:, :, pairs].sum(axis=3), 1.5)
    z = np.sqrt(kind.shared / 2) * rng.normal(size=(2, runs, items))[:, :, pairs].sum(axis=3)
    z += np.sqrt(1 - kind.shared) * rng.normal(size=z.shape)
    w = rng.normal(size=(2, runs, 1))
    w[1] = kind.common * w[0] + np.sqrt(1 - kind.common**2) * w[1]
    s, f = (np.array(each)[:, None, None] for each in (kind.noise, kind.factor))
    return size * (1 + s * noise_sizes(rng, kind, pairs)[:, None] * z) * (1 + f * w)


def true_ratio(kind: Kind, pairs: int = 200_000) -> float:
    """The ratio of mean population CVs, over many pairs without a common item."""
    apart = np.arange(2 * pairs).reshape(-1, 2)
    s, f = (np.array(each)[:, None] for each in (kind.noise, kind.factor))
    variance = np.square(s * noise_sizes(np.random.default_rng(0), kind, apart))
    one, other = np.sqrt(variance + f**2 * (1 + variance)).mean(axis=1)
    return float(one / other)


def coverage(kind: Kind, how: str, runs: int, trials: int, seed: int = 0) -> tuple[float, float]:
    """Share of intervals that hold the truth, and the median of their upper over their lower end."""
    rng, truth = np.random.default_rng(seed), true_ratio(kind)
    found = []
    for _ in range(trials):
        pairs = draw(rng, how)
        found.append(ratio_interval(*simulate(rng, kind, pairs, runs), coefficient_of_variation, pairs))
    low, high = np.array(found).T
    return float(np.mean((low <= truth) & (truth <= high))), float(np.median(high / low))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    trials = parser.parse_args().trials
    print("| runs | pairs | " + " | ".join(KINDS) + " |\n" + "|---" * (2 + len(KINDS)) + "|")
    for runs in RUNS:
        for how in DRAWS:
            cells = [coverage(kind, how, runs, trials) for kind in KINDS.values()]
            print(f"| {runs} | {how} | " + " | ".join(f"{held:.3f} ({wide:.2g})" for held, wide in cells) + " |")


if __name__ == "__main__":
    main()

"""Is there enough to speak of? A verdict over runs and items needs several of both.

Pairs count once, whatever their order, and only with two different items and a value in every run: what is asked
twice, or of one item with itself, is no more evidence.
"""

from dataclasses import dataclass

from identmetric_cli.analysis.ratio import RUNS_NEEDED

PAIRS_NEEDED = 10
"""From here on the interval of `ratio` holds what it promises, and tests over pairs have some power."""


@dataclass(frozen=True)
class Evidence:
    """What was asked for and what of it bears a comparison."""

    runs: int
    pairs_asked: int
    pairs_distinct: int
    """different pairs of two different items"""
    pairs_comparable: int
    """those of them that converged in every run"""
    runs_needed: int = RUNS_NEEDED
    pairs_needed: int = PAIRS_NEEDED

    def missing(self) -> str | None:
        """What a verdict lacks, in sentences with a remedy each, or None where there is enough."""
        lacks = []
        if self.pairs_comparable < self.pairs_needed:
            remedy = (
                "ask for more pairs (--random-pairs, or --pairs with a file)"
                if self.pairs_distinct < self.pairs_needed
                else "the column status says why, and more --max-iter helps where that is the reason"
            )
            lacks.append(
                f"Pairs: {self.pairs_asked} asked for, {self.pairs_distinct} distinct, {self.pairs_comparable} "
                f"converged in every run, {self.pairs_needed} needed; {remedy}."
            )
        if self.runs < self.runs_needed:
            lacks.append(f"Runs: {self.runs}, {self.runs_needed} needed; train more seeds (--seeds 0-4).")
        return " ".join(lacks) or None

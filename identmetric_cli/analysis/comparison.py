"""Which measure survives retraining best: one row of numbers for every measure.

The verdict is the ratio of the mean coefficient of variation over runs to that of a baseline, the Euclidean
distance between latent codes: steadier where its interval over runs and items is below 1, less steady where it
is above, else open. Paired tests over the pairs stand beside it; they are optimistic, as all pairs share the runs.

A CV alone can be gamed. If every run adds about the same constant c to all
lengths,

    CV(length + c) = s / (mean + c),

the CV falls as c grows, although the measure says nothing new about the pairs; one that is nearly constant
has a tiny CV even if every run ranks the pairs differently. Hence intraclass correlation, Spearman and
Kendall's W stand beside it in every row: they ask whether the runs agree on how the pairs *differ*, and a
constant does not move them.

A measure that no model can change has a CV of 0 by construction: no merit, so it gets neither ratio nor tests nor
agreement. Throughout, None is a number that is undefined, or one that there are too few pairs for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from identmetric_cli.analysis.agreement import intraclass_correlation, kendall_w, mean_spearman
from identmetric_cli.analysis.evidence import PAIRS_NEEDED
from identmetric_cli.analysis.paired import paired_test
from identmetric_cli.analysis.ratio import SAME, Dispersion, dispersion_ratio, ratio_interval
from identmetric_cli.analysis.variability import as_table, coefficient_of_variation, standard_deviation

FEW_RUNS = 5
PAIRED = ("difference", "difference_se", "t", "df", "p_less", "wilcoxon_p", "effect", "ci95")
FIXED = "the same in every run by construction: its variation of 0 and its agreement are no merit"
DISPERSIONS: dict[str, Dispersion] = {"cv": coefficient_of_variation, "sd": standard_deviation}


@dataclass(frozen=True)
class MeasureSummary:
    """What the runs say about one measure. The paired fields are None on the baseline's own row."""

    name: str
    pairs: int
    """number of pairs that are finite in every run; only they are used"""
    dispersion: str
    """`cv` or `sd`: what the ratio and the paired fields compare"""
    mean: float | None
    """mean over runs and pairs"""
    mean_sd: float | None
    """mean over pairs of the standard deviation over runs, in the measure's own unit"""
    mean_cv: float | None
    median_cv: float | None
    iqr_cv: tuple[float, float] | None
    """25 % and 75 % quantiles of the CV over pairs"""
    cv_ratio: float | None
    """mean dispersion divided by the baseline's, over the pairs that both have"""
    cv_ratio_ci95: tuple[float, float] | None
    """its interval over runs and items (see `analysis.ratio`)"""
    verdict: Literal["steadier", "less steady", "open"] | None
    """where that interval lies: below 1, above 1, or on both sides"""
    difference: float | None
    """mean of dispersion - baseline's; this and the next seven fields are those of `PairedTest`"""
    difference_se: float | None
    t: float | None
    df: int | None
    p_less: float | None
    wilcoxon_p: float | None
    effect: float | None
    ci95: tuple[float, float] | None
    icc_a1: float | None
    icc_c1: float | None
    spearman: float | None
    kendall_w: float | None
    warnings: tuple[str, ...]
    cv: Float[np.ndarray, " pairs"] = field(repr=False, compare=False)
    """dispersion of every pair of the table, NaN where it is undefined; not part of `as_dict`"""

    def as_dict(self) -> dict[str, str | int | float | list | None]:
        """All fields but `cv` as values that JSON knows: lists for tuples, None for what is not finite."""
        values = {f.name: _defined(getattr(self, f.name)) for f in fields(self) if f.name != "cv"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def summarise(
    measures: Mapping[str, ArrayLike],
    baseline: str = "euclidean_latent",
    endpoints: ArrayLike | None = None,
    *,
    dispersion: Literal["cv", "sd"] = "cv",
    seed: int = 0,
) -> list[MeasureSummary]:
    """One row for each measure, a (runs, pairs) table, in the order given.

    `endpoints`, (pairs, items), names the items of the baseline's pairs or triples: intervals then allow for units
    that share items, that of the ratio for both, that of the difference for pairs. `dispersion` "sd" compares
    standard deviations, for angles and curvatures, whose CVs say nothing. A measure with another number of columns is
    summarised without the paired fields, and with fewer than `PAIRS_NEEDED` pairs these are but the difference.
    ValueError for fewer than two runs, a baseline that is not among the measures, or tables with different numbers
    of runs.
    """
    if baseline not in measures:
        raise ValueError(f"the baseline {baseline!r} is not among the measures {sorted(measures)}")
    tables = {name: as_table(values) for name, values in measures.items()}
    runs = {name: len(table) for name, table in tables.items()}
    if len(set(runs.values())) > 1:
        raise ValueError(f"all measures need the same runs; got these numbers of runs: {runs}")

    return [
        _summary(name, table, tables[baseline], endpoints, dispersion, is_baseline=name == baseline, seed=seed)
        for name, table in tables.items()
    ]


def _summary(
    name: str,
    table: Float[np.ndarray, "runs pairs"],
    baseline: Float[np.ndarray, "runs reference"],
    endpoints: ArrayLike | None,
    dispersion: Literal["cv", "sd"],
    *,
    is_baseline: bool,
    seed: int,
) -> MeasureSummary:
    spread, reference = DISPERSIONS[dispersion](table), DISPERSIONS[dispersion](baseline)
    complete = np.isfinite(table).all(axis=0)
    used = table[:, complete]
    known = spread[np.isfinite(spread)] if dispersion == "cv" else np.zeros(0)
    fixed = _is_fixed(spread)
    if fixed:
        spread, known = 0 * spread, 0 * known
    comparable = spread.shape == reference.shape
    caveats = [FIXED] if fixed else _caveats(table, complete, dispersion)
    if not comparable:
        caveats.append(f"{len(spread)} columns against the baseline's {len(reference)}: not paired with it")

    compared = {}
    if comparable and not is_baseline and not fixed and not _is_fixed(reference):
        compared = _compared(table, baseline, spread, reference, endpoints, dispersion, seed)
    numbers = {
        "mean": _mean(used),
        "mean_sd": _mean(standard_deviation(used)),
        "mean_cv": _mean(known),
        "median_cv": float(np.median(known)) if known.size else None,
        "iqr_cv": tuple(np.quantile(known, [0.25, 0.75]).tolist()) if known.size else None,
        "cv_ratio": None if fixed else dispersion_ratio(spread, reference),
        **dict.fromkeys(("cv_ratio_ci95", "verdict", *PAIRED)),
        **compared,
        **dict.fromkeys(("icc_a1", "icc_c1", "spearman", "kendall_w")),
    }
    if not fixed:
        numbers["icc_a1"], numbers["icc_c1"] = intraclass_correlation(used)
        numbers["spearman"], numbers["kendall_w"] = mean_spearman(used), kendall_w(used)
    return MeasureSummary(
        name=name,
        pairs=used.shape[1],
        dispersion=dispersion,
        warnings=tuple(caveats),
        cv=spread,
        **{key: _defined(value) for key, value in numbers.items()},
    )


def _compared(
    table: Float[np.ndarray, "runs pairs"],
    baseline: Float[np.ndarray, "runs pairs"],
    spread: Float[np.ndarray, " pairs"],
    reference: Float[np.ndarray, " pairs"],
    endpoints: ArrayLike | None,
    dispersion: Literal["cv", "sd"],
    seed: int,
) -> dict[str, Any]:
    """The fields that set a measure against the baseline; of fewer pairs than bear a test, the difference alone."""
    in_pairs = endpoints is not None and np.shape(endpoints)[1:] == (2,)
    test = paired_test(spread, reference, endpoints=endpoints if in_pairs else None, seed=seed)
    if test.pairs < PAIRS_NEEDED:
        return {"difference": test.difference}
    interval = ratio_interval(table, baseline, DISPERSIONS[dispersion], endpoints)
    return {**{key: getattr(test, key) for key in PAIRED}, "cv_ratio_ci95": interval, "verdict": _verdict(*interval)}


def _verdict(low: float, high: float) -> str | None:
    if math.isnan(low):
        return None
    return "steadier" if high < 1 else "less steady" if low > 1 else "open"


def _is_fixed(spread: Float[np.ndarray, " pairs"]) -> bool:
    known = spread[np.isfinite(spread)]
    return bool(known.size) and bool(np.all(np.abs(known) < SAME))


def _caveats(
    table: Float[np.ndarray, "runs pairs"],
    complete: Bool[np.ndarray, " pairs"],
    dispersion: str,
) -> list[str]:
    """What a reader should know before trusting the row, in plain words."""
    caveats = []
    runs = len(table)
    if runs < FEW_RUNS:
        # A standard deviation from r normal values has the relative error 1 / sqrt(2 (r - 1)).
        error = 100 / math.sqrt(2 * (runs - 1))
        caveats.append(
            f"only {runs} runs: each standard deviation is uncertain by about {error:.0f} %, and another run can "
            f"reverse a small difference; train {FEW_RUNS} or more"
        )
    if not complete.all():
        caveats.append(
            f"{np.sum(~complete)} of {complete.size} pairs left out, as some run has no finite value; the "
            "numbers speak only of the others"
        )
    used = table[:, complete]
    near_zero = used.mean(axis=0) <= used.std(axis=0, ddof=1)
    if near_zero.any() and dispersion == "cv":
        caveats.append(
            f"mean near 0 in {near_zero.sum()} of {near_zero.size} pairs (not one standard deviation above "
            "it): their CV is large, negative or undefined, and distorts the mean CV"
        )
    return caveats


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _defined(value):
    """`value`, or None where it is a number, or holds a number, that is not finite."""
    numbers = value if isinstance(value, tuple) else (value,)
    return None if any(isinstance(v, float) and not math.isfinite(v) for v in numbers) else value

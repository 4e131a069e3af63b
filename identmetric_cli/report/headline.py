"""What a comparison found, in a few plain sentences: may the runs be compared, what varies less, what is gained.

Nothing is praised that is not the geometry's doing: where there is too little evidence the headline says what is
missing, where lengths are plain distances it says so, and every measure that varies less than lengths is named.
"""

from collections.abc import Sequence

from identmetric_cli.analysis import Evidence, MeasureSummary, OverDataSpace
from identmetric_cli.report.tables import number

RIVALS = {
    "euclidean_latent_scaled": "latent distances, each run in units of its own mean",
    "euclidean_decoded": "straight distances between the decoded ends",
}
ENDINGS = {
    "steadier": "geodesic lengths are the steadier relation",
    "less steady": "geodesic lengths are the less steady relation",
    "open": "these runs do not tell which is steadier",
}


def headline(
    measures: Sequence[MeasureSummary], evidence: Evidence, over: OverDataSpace, unequal: str | None = None
) -> str:
    """The sentences. `unequal` is the warning of runs that do not fit equally well."""
    by_name = {measure.name: measure for measure in measures}
    geodesic, latent = by_name["geodesic_length"], by_name["euclidean_latent"]
    said = [] if unequal is None else [f"{unequal[0].upper()}{unequal[1:]}."]
    missing = evidence.missing()
    if missing:
        said.append(f"There is too little for a verdict. {missing}")
    elif geodesic.mean_cv is None or latent.mean_cv is None:
        said.append("Lengths or latent distances have no mean to vary about, so there is no verdict.")
    else:
        said += [
            _found(geodesic, latent, evidence, praise=not over.adds_nothing),
            *_rivals(by_name, geodesic, latent),
        ]
    return " ".join([*said, *_gain(over)])


def _found(geodesic: MeasureSummary, latent: MeasureSummary, evidence: Evidence, *, praise: bool) -> str:
    found = (
        f"Over {evidence.runs} runs and {evidence.pairs_comparable} distinct pairs, geodesic lengths vary by "
        f"{_percent(geodesic)} on average and latent Euclidean distances by {_percent(latent)}"
    )
    if geodesic.cv_ratio is None or geodesic.cv_ratio_ci95 is None:
        return f"{found}; how sure their ratio is cannot be told."
    low, high = geodesic.cv_ratio_ci95
    found = (
        f"{found}, {number(geodesic.cv_ratio, 2)} times as much (95 % interval {number(low, 2)} to {number(high, 2)})"
    )
    return f"{found}: {ENDINGS[geodesic.verdict]}." if praise or geodesic.verdict != "steadier" else f"{found}."


def _rivals(by_name: dict[str, MeasureSummary], geodesic: MeasureSummary, latent: MeasureSummary) -> list[str]:
    """Who varies less than lengths, and whether runs agree less on lengths than on latent distances."""
    said = []
    less = [
        f"{words} ({_percent(by_name[name])}; ICC {number(by_name[name].icc_a1)} against {number(geodesic.icc_a1)})"
        for name, words in RIVALS.items()
        if name in by_name and by_name[name].mean_cv is not None and by_name[name].mean_cv < geodesic.mean_cv
    ]
    if less:
        said.append(f"What varies less than geodesic lengths: {'; '.join(less)}.")
    agreements = (geodesic.icc_a1, latent.icc_a1)
    if geodesic.verdict == "steadier" and None not in agreements and agreements[0] < agreements[1]:
        said.append(
            f"But runs agree less on how pairs differ (ICC {number(agreements[0])} against {number(agreements[1])})."
        )
    return said


def _gain(over: OverDataSpace) -> list[str]:
    if over.length_over_chord is None:
        return []
    ratio = f"{over.length_over_chord:.3f}"
    known = f"the median curve is {ratio} times as long as the straight line between its decoded ends"
    if over.spearman_ambient is not None:
        known += (
            ", and the rank correlation of lengths with plain distances between the items is "
            f"{number(over.spearman_ambient)}"
        )
    if over.adds_nothing:
        return [
            f"Geodesics add nothing over plain distances here: {known}. Plain distances say the same "
            "and need no model."
        ]
    return [f"{known[0].upper()}{known[1:]}."]


def _percent(measure: MeasureSummary) -> str:
    return f"{100 * measure.mean_cv:.1f} %"

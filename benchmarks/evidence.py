"""Which lengths survive retraining: every estimator, by latent dimension and number of decoders.

    identmetric train benchmarks/dense.toml --seeds 0-9
    identmetric train benchmarks/dense.toml --seeds 0-9 --set model.latent_dim=2 --name dense-flat
    identmetric train mnist --seeds 0-9
    python benchmarks/evidence.py runs evidence dense:100 dense-flat:100 mnist:40

`runs` holds the runs, `evidence` keeps what was solved: an interrupted evidence goes on where it was. A new version
of the program needs a new folder. After them come the runs' names and how many pairs to solve; `expected` is always
found for 100, those of the official code. For K below eight the first K decoders of a run are taken; the encoder is
that of all eight. Curves are found on 16 segments from two starts, `independent` to 1e-3 of its energy, the others to
1e-4, and measured on 64 and 256. For `independent`, whose curves depend on n, disagreement has the weight (n / 16)^2
while they are found: the same cost in the limit of many nodes. As a check of that, `direct` finds 20 of them on 64
segments. The estimator `paper` has `independent` as its exact expectation.

Two tables: CV, paired t against latent Euclid between the encoder's means, ICC and Spearman; and how close curves are
to data: the members' disagreement along them in units of its median at training codes, and the mean distance of their
nodes to the nearest decoded training code in units of its median over test codes.
"""

import sys
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

import jax
import numpy as np

from identmetric_cli.analysis import scale_normalised, summarise
from identmetric_cli.files import write_npz
from identmetric_cli.geometry import Estimator, conformal, geodesics, refine_endpoints, survey
from identmetric_cli.geometry.curves import resampled
from identmetric_cli.geometry.energy import length, squared_steps
from identmetric_cli.geometry.estimators import disagreement
from identmetric_cli.geometry.metric import decoded
from identmetric_cli.models import EnsembleVAE, as_decoders
from identmetric_cli.models.encode import encode
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model, load_run_data
from identmetric_cli.stages.pairs import draw_pairs

SEEDS = range(10)
NODES, MEASURED = 16, (64, 256)
PAIRS = {"expected": 100, "refined": 100, "direct-64": 20}
SETTINGS = [
    *((name, 8) for name in ("expected", "refined")),
    *(("expected", k) for k in (1, 2, 4)),
    *((name, 8) for name in ("conformal", "mean", "independent-64", "independent-256", "direct-64")),
    *((name, k) for k in (4, 2) for name in ("conformal", "independent-64", "mean", "independent-256")),
]
"""Estimators and numbers of decoders, in the order in which they are solved."""


@partial(jax.tree_util.register_dataclass, data_fields=("weight", "seed", "draw"), meta_fields=("name",))
@dataclass(frozen=True)
class Independent(Estimator):
    """`independent` with another weight of the disagreement."""

    name: str = "independent"

    def squared_steps(self, x):
        v = disagreement(x)
        steps = Estimator("mean").squared_steps(x)
        return steps + self.weight * (v[..., 1:] + v[..., :-1])


@cache
def prepared(path: Path) -> tuple[EnsembleVAE, np.ndarray, np.ndarray, np.ndarray]:
    """Model of a run, codes of its training and test data, and the test data in rows."""
    model, data = load_model(Run(path)), load_run_data(Run(path))
    test, train = (encode(model, items)[0] for items in (data.test.items, data.train.items[::4]))
    return model, train, test, data.test.items.reshape(len(test), -1)


def solve(path: Path, name: str, decoders: int, count: int) -> dict[str, np.ndarray]:
    """Lengths on 64 and 256 segments, baselines, and closeness to data, of every pair."""
    model, train, means, items = prepared(path)
    first = jax.tree.map(lambda leaf: leaf[:decoders], model.decoders)
    decode = as_decoders(EnsembleVAE(model.encoder, first))
    pairs = draw_pairs(len(means), max(PAIRS.values()), 101)[:count]
    codes = survey(decode, train)
    test = np.moveaxis(np.asarray(decoded(decode, means)), 1, 0)
    if name == "refined":
        means = refine_endpoints(decode, means, items).latents
    kind, _, n = name.partition("-")
    search = {
        "conformal": lambda: conformal(codes),
        "independent": lambda: Independent(weight=(int(n) / NODES) ** 2),
        "direct": lambda: Estimator("independent"),
        "mean": lambda: Estimator("mean"),
    }.get(kind, Estimator)()
    measure = Estimator("independent") if kind in ("independent", "direct") else search
    rtol = 1e-3 if measure.name == "independent" else 1e-4
    nodes = int(n) if kind == "direct" else NODES
    ends = means[pairs[:, 0]], means[pairs[:, 1]]
    table = geodesics(decode, *ends, estimator=search, nodes=nodes, rtol=rtol, max_iter=300)
    curves = resampled(table.curve, NODES)
    fine = resampled(table.curve, MEASURED[-1])
    stride = MEASURED[-1] // MEASURED[0]
    steps, coarse = squared_steps(decode, fine, MEASURED[-1] + 1, measure, (1, stride))
    x = np.moveaxis(np.asarray(decoded(decode, curves.reshape(-1, means.shape[1]))), 1, 0)
    v = np.asarray(disagreement(np.moveaxis(x, 1, 0))).reshape(curves.shape[:2])
    return {
        "status": table.status,
        "evaluations": table.iterations,
        "length_64": length(coarse),
        "length_256": length(steps),
        "latent": table.euclidean_latent,
        "chord": table.chord,
        "spread": table.start_spread,
        "disagreement": np.sqrt(v).mean(axis=1) / max(np.sqrt(np.median(codes.disagreement)), 1e-30),
        "distance": _nearest(x, codes.decoded).reshape(v.shape).mean(axis=1)
        / np.median(_nearest(test, codes.decoded)),
    }


def _nearest(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Distance in F from every decoded point (points, decoders, data) to the nearest decoded code."""
    x, codes = (each.reshape(len(each), -1) / np.sqrt(each.shape[1]) for each in (x, codes))
    squares = (x**2).sum(axis=1)[:, None] + (codes**2).sum(axis=1) - 2 * x @ codes.T
    return np.sqrt(np.maximum(squares.min(axis=1), 0))


def collected(folder: Path, prefix: str, name: str, decoders: int) -> dict[str, np.ndarray] | None:
    """What all seeds said, (runs, pairs) each; None while a seed is missing."""
    paths = [folder / f"{prefix}-s{seed}-{name}-K{decoders}.npz" for seed in SEEDS]
    if not all(path.exists() for path in paths):
        return None
    each = [dict(np.load(path, allow_pickle=False)) for path in paths]
    pairs = min(len(one["status"]) for one in each)
    return {key: np.stack([one[key][:pairs] for one in each]) for key in each[0]}


def report(folder: Path, prefixes: list[str]) -> None:
    """The tables, of what there is."""
    closeness = []
    print("| runs | estimator | K | n | measure mean | CV | t | ICC(A,1) | ICC(C,1) | Spearman | converged |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for prefix, (name, decoders) in product(prefixes, SETTINGS):
        found = collected(folder, prefix, name, decoders)
        if found is None:
            continue
        kind, _, n = name.partition("-")
        good = found["status"] == 1
        measures = {
            f"{kind}|{decoders}|{n or size}": np.where(good, found[f"length_{n or size}"], np.nan)
            for size in ((n,) if n else MEASURED)
        }
        latent = found["latent"].astype(np.float64)
        if decoders == 8 and name in ("expected", "refined"):
            mark = ", refined ends" if name == "refined" else ""
            measures[f"latent Euclid{mark}|8|"] = latent
            measures[f"latent Euclid, scaled{mark}|8|"] = scale_normalised(latent)
            measures[f"decoded ends{mark}|8|"] = found["chord"].astype(np.float64)
        between_means = collected(folder, prefix, "expected", 8) if name == "refined" else found
        measures["euclidean_latent"] = between_means["latent"].astype(np.float64)
        for one in summarise(measures):
            if one.name != "euclidean_latent":
                label = " | ".join(one.name.split("|"))
                t = "" if one.t is None else f"{one.t:.1f}"
                print(
                    f"| {prefix} | {label} | {one.mean:.4g} | {one.mean_cv:.4f} | {t} | {one.icc_a1:.3f} "
                    f"| {one.icc_c1:.3f} | {one.spearman:.3f} | {good.mean():.1%} of {good.size} |"
                )
        numbers = [np.nanmean(np.where(good, found[key], np.nan)) for key in ("disagreement", "distance")]
        closeness.append((prefix, name, decoders, *numbers, found["evaluations"].mean()))
    print("\n| runs | curves of | K | disagreement | distance to training codes | evaluations a pair |")
    print("|---|---|---|---|---|---|")
    for prefix, name, decoders, v, distance, evaluations in closeness:
        print(f"| {prefix} | {name} | {decoders} | {v:.3f} | {distance:.3f} | {evaluations:.1f} |")


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    runs, folder = Path(sys.argv[1]), Path(sys.argv[2])
    counts = {prefix: int(count) for prefix, _, count in (each.partition(":") for each in sys.argv[3:])}
    for (name, decoders), prefix, seed in product(SETTINGS, counts, SEEDS):
        run = Run(runs / f"{prefix}-s{seed}")
        path = folder / f"{run.name}-{name}-K{decoders}.npz"
        if not path.exists() and run.finished:
            write_npz(path, solve(run.path, name, decoders, PAIRS.get(name, counts[prefix])))
            print(f"{path.name}", file=sys.stderr, flush=True)
    report(folder, list(counts))


if __name__ == "__main__":
    main()

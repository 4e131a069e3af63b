"""Which lengths survive retraining: every estimator, by latent dimension and number of decoders.

    identmetric train mnist --seeds 0-9
    identmetric train mnist --seeds 0-9 --set model.latent_dim=2 --name flat
    python benchmarks/evidence.py runs evidence

`runs` holds the runs, `evidence` keeps what was solved: an interrupted evidence goes on where it was. For K below the
runs' eight decoders the first K of a run are taken; the encoder is that of all eight. Pairs are those of the official
code. Curves are found on 16 segments from two starts, `independent` to 1e-3 of its energy, the others to 1e-4, and
measured on 64 and 256. For `independent`, whose curves depend on n, disagreement has the weight (n / 16)^2 while they
are found: the same cost in the limit of many nodes.

Two tables: CV, paired t against latent Euclid, ICC and Spearman; and how close curves stay to data: the members'
disagreement along them in units of its median at training codes, and the mean distance of their nodes to the nearest
decoded training code in units of its median over test codes.
"""

import sys
from dataclasses import dataclass
from functools import partial
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
from identmetric_cli.models import as_decoders
from identmetric_cli.models.encode import encode
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model, load_run_data
from identmetric_cli.stages.pairs import draw_pairs

NAMES = {16: "mnist", 2: "flat"}
SEEDS = range(10)
NODES, MEASURED = 16, (64, 256)
SETTINGS = {
    ("expected", 8): 100,
    ("refined", 8): 100,
    **{("expected", k): 100 for k in (1, 2, 4)},
    ("conformal", 8): 50,
    ("independent-64", 8): 40,
    ("mean", 8): 50,
    ("independent-256", 8): 40,
    **{(name, k): 40 for k in (2, 4) for name in ("independent-64", "conformal", "independent-256", "mean")},
}
"""Pairs of every estimator and number of decoders, in the order in which they are solved."""


@partial(jax.tree_util.register_dataclass, data_fields=("weight", "seed", "draw"), meta_fields=("name",))
@dataclass(frozen=True)
class Independent(Estimator):
    """`independent` with another weight of the disagreement."""

    name: str = "independent"

    def squared_steps(self, x):
        v = disagreement(x)
        steps = Estimator("mean").squared_steps(x)
        return steps + self.weight * (v[..., 1:] + v[..., :-1])


def solve(run: Run, name: str, decoders: int, count: int) -> dict[str, np.ndarray]:
    """Lengths on 64 and 256 segments, baselines, and closeness to data, of every pair."""
    model, data = load_model(run), load_run_data(run)
    decode = as_decoders(model)[:decoders]
    means, _ = encode(model, data.test.items)
    pairs = draw_pairs(len(means), 100, 101)[:count]
    codes = survey(decode, encode(model, data.train.items[::4])[0])
    test = np.moveaxis(np.asarray(decoded(decode, means)), 1, 0)
    if name == "refined":
        means, _ = refine_endpoints(decode, means, data.test.items.reshape(len(means), -1))
    kind, _, n = name.partition("-")
    search = {
        "conformal": lambda: conformal(codes),
        "independent": lambda: Independent(weight=(int(n) / NODES) ** 2),
        "mean": lambda: Estimator("mean"),
    }.get(kind, Estimator)()
    measure = Estimator("independent") if kind == "independent" else search
    rtol = 1e-3 if kind == "independent" else 1e-4
    ends = means[pairs[:, 0]], means[pairs[:, 1]]
    table = geodesics(decode, *ends, estimator=search, nodes=NODES, rtol=rtol, max_iter=300)
    fine = resampled(table.curve, MEASURED[-1])
    stride = MEASURED[-1] // MEASURED[0]
    steps, coarse = squared_steps(decode, fine, MEASURED[-1] + 1, measure, (1, stride))
    x = np.moveaxis(np.asarray(decoded(decode, table.curve.reshape(-1, means.shape[1]))), 1, 0)
    v = np.asarray(disagreement(np.moveaxis(x, 1, 0))).reshape(table.curve.shape[:2])
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


def collected(folder: Path, dimension: int, name: str, decoders: int) -> dict[str, np.ndarray] | None:
    """What all seeds said, (runs, pairs) each; None while a seed is missing."""
    paths = [folder / f"{NAMES[dimension]}-s{seed}-{name}-K{decoders}.npz" for seed in SEEDS]
    if not all(path.exists() for path in paths):
        return None
    each = [dict(np.load(path, allow_pickle=False)) for path in paths]
    pairs = min(len(one["status"]) for one in each)
    return {key: np.stack([one[key][:pairs] for one in each]) for key in each[0]}


def report(folder: Path) -> None:
    """The tables, of what there is."""
    closeness = []
    print("| d | estimator | K | n | measure mean | CV | t | ICC(A,1) | ICC(C,1) | Spearman | converged |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for dimension in NAMES:
        for name, decoders in SETTINGS:
            found = collected(folder, dimension, name, decoders)
            if found is None:
                continue
            kind, _, n = name.partition("-")
            good = found["status"] == 1
            measures = {
                f"{kind}|{decoders}|{n or size}": np.where(good, found[f"length_{n or size}"], np.nan)
                for size in ((n,) if n else MEASURED)
            }
            measures["euclidean_latent"] = found["latent"].astype(np.float64)
            if decoders == 8 and name in ("expected", "refined"):
                mark = ", refined ends" if name == "refined" else ""
                measures[f"latent Euclid{mark}|8|"] = measures["euclidean_latent"]
                measures[f"latent Euclid, scaled{mark}|8|"] = scale_normalised(measures["euclidean_latent"])
                measures[f"decoded ends{mark}|8|"] = found["chord"].astype(np.float64)
            for one in summarise(measures):
                if one.name != "euclidean_latent":
                    label = " | ".join(one.name.split("|"))
                    t = "" if one.t is None else f"{one.t:.1f}"
                    print(
                        f"| {dimension} | {label} | {one.mean:.4g} | {one.mean_cv:.4f} | {t} | {one.icc_a1:.3f} "
                        f"| {one.icc_c1:.3f} | {one.spearman:.3f} | {good.mean():.1%} of {good.size} |"
                    )
            if decoders == 8:
                numbers = [np.nanmean(np.where(good, found[key], np.nan)) for key in ("disagreement", "distance")]
                closeness.append((dimension, name, *numbers, found["evaluations"].mean()))
    print("\n| d | curves of (K = 8) | disagreement | distance to training codes | evaluations a pair |")
    print("|---|---|---|---|---|")
    for dimension, name, v, distance, evaluations in closeness:
        print(f"| {dimension} | {name} | {v:.3f} | {distance:.3f} | {evaluations:.1f} |")


def main() -> None:
    runs, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for prefix in NAMES.values():
        for (name, decoders), count in SETTINGS.items():
            for seed in SEEDS:
                run = Run(runs / f"{prefix}-s{seed}")
                path = folder / f"{run.name}-{name}-K{decoders}.npz"
                if not path.exists() and run.finished:
                    write_npz(path, solve(run, name, decoders, count))
                    print(f"{path.name}", file=sys.stderr, flush=True)
    report(folder)


if __name__ == "__main__":
    main()

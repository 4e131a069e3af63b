"""The default solver against GEORCE and against Adam on splines: seconds a pair, and the energies that they reach.

    python benchmarks/solvers.py RUN PAIRS METHOD...

A METHOD is solver:segments or solver:segments:rtol, for instance lbfgs:16 georce:100 adam:255. All start on the
straight line, on the first PAIRS pairs of the official code. `adam` is the published procedure with this package's
fast decoders: 11 spline coefficients a dimension, learning rate 0.01, stopped by 100 steps without a gain of 1.0 on
the sum of a batch, at most 4096 steps; but on the exact expected energy, which is in its favour. Energies are those
of the expected metric on 1024 segments, curves resampled by their own sine modes; excess is over the lowest energy
that any method of the call found for the pair. Times are medians of three warm repeats; one where a call takes more
than 30 seconds, and none for adam, whose compilation is not worth mentioning.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from identmetric_cli.geometry import geodesics
from identmetric_cli.geometry.curves import resampled
from identmetric_cli.geometry.energy import energy, squared_steps
from identmetric_cli.models import as_decoders
from identmetric_cli.models.encode import encode
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model, load_run_data
from identmetric_cli.stages.pairs import draw_pairs

GRID, REPEATS, LONG = 1024, 3, 30
POINTS = 1024
"""Points that are decoded at a time, for every method the same."""


def main() -> None:
    run, count, methods = Run(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3:]
    model, data = load_model(run), load_run_data(run)
    means, _ = encode(model, data.test.items)
    pairs = draw_pairs(len(means), 100, 101)[:count]
    starts, ends = means[pairs[:, 0]], means[pairs[:, 1]]
    decode = as_decoders(model)
    found = {}
    for method in methods:
        solver, n, rtol = (method + ":1e-4").split(":")[:3]
        options = {"solver": solver, "nodes": int(n), "rtol": float(rtol), "tries": 1}
        options |= {"curve": "spline", "max_iter": 4096} if solver == "adam" else {"max_iter": 1000}
        seconds = []
        while len(seconds) < (1 if solver == "adam" else 1 + REPEATS if seconds and seconds[0] < LONG else 2):
            began = time.perf_counter()
            table = geodesics(decode, starts, ends, batch_size=max(1, POINTS // int(n)), **options)
            seconds.append(time.perf_counter() - began)
        energies = []
        for curve in table.curve:
            (steps,) = squared_steps(decode, resampled(curve[None], GRID), GRID + 1)
            energies.append(energy(steps.astype(np.float64))[0])
        found[method] = statistics.median(seconds[1:] or seconds) / count, np.array(energies), table
    best = np.min([energies for _, energies, _ in found.values()], axis=0)
    print(f"{run.name}: {count} pairs, d = {starts.shape[1]}, {model.decode(starts[:1]).shape[0]} decoders")
    print("| method | s a pair | evaluations | mean energy | excess: mean | median | most | converged |")
    print("|---|---|---|---|---|---|---|---|")
    for method, (seconds, energies, table) in found.items():
        excess = energies / best - 1
        print(
            f"| {method} | {seconds:.4f} | {table.iterations.mean():.1f} | {energies.mean():.4f} "
            f"| {excess.mean():.1e} | {np.median(excess):.1e} | {excess.max():.1e} | {table.converged.mean():.0%} |"
        )


if __name__ == "__main__":
    main()

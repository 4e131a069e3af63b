"""Geodesics of a trained run: seconds a pair, energies against converged ones, and the official optimiser's cost.

    python benchmarks/geodesics.py runs/mnist-s0

The run is one of the MNIST preset. Three measurements:

1. `geodesics` on the 100 pairs of the official code, in a fresh process, compilation included, then again warm.
2. Energies of eight of these curves on 256 segments, against curves that were optimised on 64 segments until the
   estimated gain was below 1e-6.
3. The optimiser of Syrota et al. (2025): Adam 0.01 on 11 spline coefficients a dimension, 256 nodes, a random decoder
   a node, up to 4096 steps, stopped by 100 steps without a gain of 1.0 on the batch sum. Its step is timed as
   published (all decoders, mapped over their weights, at all nodes of 5 pairs); how many steps it takes is counted
   with every node decoded by its own decoder alone, which gives the same numbers for an eighth of the work.
"""

import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from identmetric_cli.geometry import energy, geodesics
from identmetric_cli.geometry.curves import basis, resampled, stiffness_factor
from identmetric_cli.models import as_decoders
from identmetric_cli.models.encode import encode
from identmetric_cli.models.ensemble import apply_decoders
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model, load_run_data
from identmetric_cli.stages.pairs import draw_pairs

PAIRS, CHECKED, OFFICIAL_PAIRS, OFFICIAL_NODES = 100, 8, 5, 256


def energy_on_256(decode, curves):
    """Energies of curves on 256 segments, interpolated by their own sine modes."""
    (steps,) = energy.squared_steps(decode, resampled(curves, 256), 257)
    return energy.energy(steps.astype(np.float64))


def official(model, starts, ends):
    """Seconds a published step takes, and the steps that the procedure needs."""
    size = model.decode(starts[:1]).shape[0]
    functions = basis("spline", OFFICIAL_NODES - 1, 11, OFFICIAL_NODES - 1, jnp.float32)
    splines = functions @ stiffness_factor("spline", 11).T.astype(np.float32)
    t = jnp.linspace(0, 1, OFFICIAL_NODES)[:, None]
    total = OFFICIAL_PAIRS * OFFICIAL_NODES
    adam = optax.adam(0.01)

    def nodes(coefficients):
        line = (1 - t) * starts[:, None] + t * ends[:, None]
        return (line + jnp.einsum("nc,pcd->pnd", splines, coefficients)).reshape(total, -1)

    def loss(x):
        x = x.reshape(OFFICIAL_PAIRS, OFFICIAL_NODES, -1)
        return OFFICIAL_NODES * jnp.sum(jnp.square(jnp.diff(x, axis=1)))

    def published(coefficients, decoders, order):
        x = jax.vmap(lambda member, z: member(z), in_axes=(0, None))(decoders, nodes(coefficients))
        return loss(x.reshape(size, total, -1)[order % size, jnp.arange(total)])

    def economical(coefficients, decoders, order):
        z = nodes(coefficients)[order].reshape(size, total // size, -1)
        x = apply_decoders(decoders, z).reshape(total, -1)
        return loss(jnp.zeros_like(x).at[order].set(x))

    def stepper(function):
        @jax.jit
        def step(coefficients, state, decoders, order):
            value, gradient = jax.value_and_grad(function)(coefficients, decoders, order)
            updates, state = adam.update(gradient, state)
            return optax.apply_updates(coefficients, updates), state, value

        return step

    start = jnp.zeros((OFFICIAL_PAIRS, splines.shape[1], starts.shape[1]))
    generator = np.random.default_rng(0)
    step, seconds = stepper(published), []
    for _ in range(4):
        began = time.perf_counter()
        jax.block_until_ready(step(start, adam.init(start), model.decoders, generator.permutation(total)))
        seconds.append(time.perf_counter() - began)
    step, coefficients, state = stepper(economical), start, adam.init(start)
    best, best_step, taken = np.inf, 0, 0
    for taken in range(1, 4097):
        coefficients, state, value = step(coefficients, state, model.decoders, generator.permutation(total))
        if float(value) < best - 1.0:
            best, best_step = float(value), taken
        if taken - best_step > 100:
            break
    return statistics.median(seconds[1:]), taken


def main() -> None:
    run = Run(Path(sys.argv[1]))
    model, data = load_model(run), load_run_data(run)
    means, _ = encode(model, data.test.items)
    pairs = draw_pairs(len(means), PAIRS, 101)
    starts, ends = means[pairs[:, 0]], means[pairs[:, 1]]
    decode, settings = as_decoders(model), run.config().geodesic
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        table = geodesics(decode, starts, ends, nodes=settings.nodes, rtol=settings.rtol)
        seconds.append(time.perf_counter() - began)
    cold, warm = seconds[0] / PAIRS, statistics.median(seconds[1:]) / PAIRS
    print(f"{PAIRS} pairs, {settings.nodes} segments, {int(table.converged.sum())} converged, ", end="")
    print(f"{table.iterations.mean():.1f} evaluations a pair (most {table.iterations.max()})")
    print(f"seconds a pair: {cold:.3f} with compilation, {warm:.3f} without")
    reference = geodesics(decode, starts[:CHECKED], ends[:CHECKED], nodes=64, rtol=1e-6, max_iter=300, batch_size=4)
    ours, best = (energy_on_256(decode, each) for each in (table.curve[:CHECKED], reference.curve))
    excess = ours / best - 1
    print(
        f"energy on 256 segments above converged: mean {excess.mean():.2e}, most {excess.max():.2e} ({CHECKED} pairs)"
    )
    step, steps = official(model, jnp.asarray(starts[:OFFICIAL_PAIRS]), jnp.asarray(ends[:OFFICIAL_PAIRS]))
    slow = step * steps / OFFICIAL_PAIRS
    print(f"official: {step:.1f} s a step of {OFFICIAL_PAIRS} pairs, {steps} steps, {slow:.0f} s a pair")
    print(f"ratio {slow / cold:.0f} with compilation, {slow / warm:.0f} without")


if __name__ == "__main__":
    main()

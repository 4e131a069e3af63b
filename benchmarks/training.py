"""Training steps of the MNIST preset, decoders applied one by one against decoders mapped over their weights.

    python benchmarks/training.py

Both do the same work on the same batches with the same optimiser; the second is how the code of Syrota et al. (2025)
applies its ensemble. Steps of the two alternate in one process, and medians are compared.
"""

import statistics
import time

import jax
from flax import nnx

from identmetric_cli.config import load
from identmetric_cli.models import ensemble
from identmetric_cli.stages.assemble import build_data, build_model, build_optimizer
from identmetric_cli.training.batches import epoch_order, step_key
from identmetric_cli.training.step import init_state, make_step

FAST_STEPS, SLOW_STEPS = 31, 5


def mapped(decoders, z):
    """Every decoder on its own points, mapped over the weights."""
    return jax.vmap(lambda member, points: member(points))(decoders, z)


def main() -> None:
    config = load("mnist")
    data = build_data(config)
    model = build_model(config, data.shape, 0)
    graphdef = nnx.graphdef(model)
    optimizer = build_optimizer(config.train.learning_rate, None)
    order = epoch_order(len(data.train), config.train.batch_size, 0, 0)
    states, times = {}, {}
    steps = {}
    unrolled = ensemble.apply_decoders
    for name, apply in (("unrolled", unrolled), ("mapped", mapped)):
        ensemble.apply_decoders = apply
        make_step.cache_clear()
        steps[name] = make_step(graphdef, optimizer, noise_variance=config.objective.noise_variance, beta=1.0)
        states[name] = init_state(model, optimizer)
        began = time.perf_counter()
        states[name] = jax.block_until_ready(steps[name](states[name], data.train.items[order[0]], step_key(0, 0, 0)))
        print(f"{name}: first step, compilation included, {time.perf_counter() - began:.1f} s")
        times[name] = []
    error_sums = [float(state.error_sum) for state in states.values()]
    print(f"mean squared errors of the two after one step: {error_sums[0]:.6f} and {error_sums[1]:.6f}")
    for name, count in (("unrolled", FAST_STEPS), ("mapped", SLOW_STEPS), ("unrolled", FAST_STEPS)):
        for index in range(count):
            began = time.perf_counter()
            states[name] = steps[name](states[name], data.train.items[order[index]], step_key(0, 0, index))
            jax.block_until_ready(states[name])
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name, median in medians.items():
        spread = f"{min(times[name]) * 1e3:.0f} to {max(times[name]) * 1e3:.0f}"
        print(
            f"{name}: median step {median * 1e3:.0f} ms ({spread}), epoch of {len(order)} steps {median * len(order):.1f} s"
        )
    print(f"ratio {medians['mapped'] / medians['unrolled']:.1f}")


if __name__ == "__main__":
    main()

"""Training steps of the MNIST preset against the same networks written plainly and mapped over the decoders' weights.

    python benchmarks/training.py

Plain networks use the library's convolutions, of stride 2 in the encoder and after enlarging in the decoders, and
`vmap` over the decoders' weights, as the code of Syrota et al. (2025) does. Both do the same work on the same batches
with the same optimiser, from the same start, in one process; medians of steps are compared.
"""

import statistics
import time

import jax
from flax import nnx

from identmetric_cli.config import load
from identmetric_cli.models import ensemble, networks
from identmetric_cli.stages.assemble import build_data, build_model, build_optimizer
from identmetric_cli.training.batches import epoch_order, step_key
from identmetric_cli.training.step import init_state, make_step

FAST_STEPS, SLOW_STEPS = 31, 5


def mapped(decoders, z):
    """Every decoder on its own points, mapped over the weights."""
    return jax.vmap(lambda member, points: member(points))(decoders, z)


def convolution(x, kernel, stride):
    """The library's 3x3 convolution with padding 1."""
    padding = ((1, 1), (1, 1))
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def enlarged_convolution(x, kernel):
    """A convolution of the image enlarged twice."""
    return convolution(x.repeat(2, axis=1).repeat(2, axis=2), kernel, 1)


def plainly() -> None:
    """Write the networks plainly from here on."""
    networks.strided_convolution = lambda x, kernel: convolution(x, kernel, 2)
    networks.upsampled_convolution = enlarged_convolution
    ensemble.apply_decoders = mapped


def main() -> None:
    config = load("mnist")
    data = build_data(config)
    model = build_model(config, data.shape, 0)
    graphdef = nnx.graphdef(model)
    optimizer = build_optimizer(config.train.learning_rate, None)
    order = epoch_order(len(data.train), config.train.batch_size, 0, 0)
    states, times = {}, {}
    steps = {}
    for name in ("ours", "plain"):
        if name == "plain":
            plainly()
        make_step.cache_clear()
        steps[name] = make_step(graphdef, optimizer, noise_variance=config.objective.noise_variance, beta=1.0)
        states[name] = init_state(model, optimizer)
        began = time.perf_counter()
        states[name] = jax.block_until_ready(steps[name](states[name], data.train.items[order[0]], step_key(0, 0, 0)))
        print(f"{name}: first step, compilation included, {time.perf_counter() - began:.1f} s")
        times[name] = []
    error_sums = [float(state.error_sum) for state in states.values()]
    print(f"mean squared errors of the two after one step: {error_sums[0]:.6f} and {error_sums[1]:.6f}")
    for name, count in (("ours", FAST_STEPS), ("plain", SLOW_STEPS), ("ours", FAST_STEPS)):
        for index in range(count):
            began = time.perf_counter()
            states[name] = steps[name](states[name], data.train.items[order[index]], step_key(0, 0, index))
            jax.block_until_ready(states[name])
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name, median in medians.items():
        spread = f"{min(times[name]) * 1e3:.0f} to {max(times[name]) * 1e3:.0f}"
        epoch = f"{len(order)} steps {median * len(order):.1f} s"
        print(f"{name}: median step {median * 1e3:.0f} ms ({spread}), {epoch}")
    print(f"ratio {medians['plain'] / medians['ours']:.1f}")


if __name__ == "__main__":
    main()

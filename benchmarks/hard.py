"""Geodesics on maps that are hard to solve, against references that share no code with the solver.

    python benchmarks/hard.py                                       # names of the maps
    python benchmarks/hard.py sines "relu digits" --pairs 200 --seed 0 --set nodes=64 --set tries=4 --cache FOLDER

`--set` passes options on to `geodesics`, `--codes` hands it the codes of data where a map has some, `--decodes`
counts the points that are decoded (padding included, the way back of gradients not). References are those of
`tests/shortest_paths.py`, sums over factors for products and closed forms for surfaces; they take minutes a map, and
no time once they are in the cache. One row a map:

    converged            share of rows that are answers; what became of the others is under `status`
    > .1 %, > 1 %, worst  of converged rows: the row's own curve, linear between its nodes, on 4,096 chords, is longer
                         than the reference by more than that; at most by a factor
    below                converged rows that report less than the reference by more than 1 %: no curve is so short
    reported / own       length in the table over that of the row's own curve: least, largest, share off by over 1 %
    beaten               rows whose own curve is shorter than the reference by over .1 %: that is no minimum
"""

import argparse
import ast
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

# L-BFGS-B makes many products of a few numbers: on threads these take fifty times as long when cores are shared.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
from jax.tree_util import Partial

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import hard_maps
import manifolds
from hard_networks import NETWORKS, network
from shortest_paths import distances, measured

from identmetric_cli.geometry import Status, geodesics
from identmetric_cli.types import Decode

DATA = ("digits", "mnist", "wine")
BUMP = (3.0, 1.0)


class Case(NamedTuple):
    """A map with pairs of latents (pairs, d) on it, and how their distances are known."""

    decode: Decode
    starts: np.ndarray
    ends: np.ndarray
    reference: Callable[[Path | None], np.ndarray]
    codes: np.ndarray | None = None


def case(name: str, pairs: int, seed: int) -> Case:
    """The map of a name of `MAPS` and `pairs` random pairs."""
    rng = np.random.default_rng(seed)
    return MAPS[name](rng, pairs)


def _searched(decode: Decode, starts: np.ndarray, ends: np.ndarray, codes: np.ndarray | None = None) -> Case:
    return Case(decode, starts, ends, partial(reference, decode, starts, ends), codes)


def _normal(decode: Decode, dimension: int, rng: np.random.Generator, pairs: int) -> Case:
    return _searched(decode, *rng.normal(size=(2, pairs, dimension)))


def _uniform(decode: Decode, size: tuple[float, float], rng: np.random.Generator, pairs: int) -> Case:
    return _searched(decode, *rng.uniform(-1, 1, size=(2, pairs, 2)) * size)


def _trained(name: str, rng: np.random.Generator, pairs: int) -> Case:
    decode, codes = network(name)
    rows = np.array([rng.choice(len(codes), 2, replace=False) for _ in range(pairs)])
    return _searched(decode, codes[rows[:, 0]], codes[rows[:, 1]], codes)


def _product(dimension: int, rng: np.random.Generator, pairs: int) -> Case:
    maps = tuple(hard_maps.sines(2, i) if i % 2 else hard_maps.foreign(i) for i in range(dimension // 2))
    rotation = manifolds.orthonormal(np.random.default_rng(0), dimension, dimension)
    starts, ends = rng.normal(size=(2, pairs, dimension))
    parts = list(zip(maps, hard_maps.factors(rotation, starts), hard_maps.factors(rotation, ends), strict=True))
    decode = hard_maps.product(maps, rotation)
    return Case(decode, starts, ends, lambda cache: np.sqrt(sum(reference(*each, cache) ** 2 for each in parts)))


def _bump(rng: np.random.Generator, pairs: int) -> Case:
    starts, ends = rng.uniform(-2, 2, size=(2, pairs, 2))
    truth = partial(hard_maps.bump_distance, *BUMP)
    return Case(manifolds.bump(*BUMP), starts, ends, lambda _: np.array(list(map(truth, starts, ends))))


def _globe(rng: np.random.Generator, pairs: int) -> Case:
    starts, ends = rng.uniform(-1, 1, size=(2, pairs, 2)) * (1.2, 1.56)
    starts[0], ends[0] = hard_maps.NEAR_CONJUGATE
    return Case(hard_maps.globe, starts, ends, lambda _: hard_maps.globe_distance(starts, ends))


def _tanh(_: np.random.Generator, pairs: int) -> Case:
    decode, starts, ends = hard_maps.tanh_5_to_2()
    return _searched(decode, starts[:pairs], ends[:pairs])


MAPS: dict[str, Callable[[np.random.Generator, int], Case]] = {
    **{f"{network} {data}": partial(_trained, f"{network} {data}") for network in NETWORKS for data in DATA},
    **{f"foreign {seed}": partial(_normal, hard_maps.foreign(seed), 2) for seed in (0, 1)},
    "smooth sines": partial(_normal, hard_maps.sines(2, 0, 1.6), 2),
    "sines": partial(_normal, hard_maps.sines(2, 0), 2),
    "sines 16": partial(_normal, hard_maps.sines(16, 0, 2.1), 16),
    "rough sines 16": partial(_normal, hard_maps.sines(16, 0), 16),
    "voronoi": partial(_normal, hard_maps.voronoi(2, 0), 2),
    "maze": partial(_uniform, hard_maps.maze(), (1.8, 1.5)),
    **{f"product {dimension}": partial(_product, dimension) for dimension in (4, 8, 16)},
    "bump": _bump,
    "globe": _globe,
    "tanh 5 to 2": _tanh,
}


def reference(decode: Decode, starts: np.ndarray, ends: np.ndarray, cache: Path | None) -> np.ndarray:
    """Reference distances, from the cache where these maps and pairs have been there."""
    probes = np.concatenate([starts, ends])[:64].astype(np.float32)
    shown = np.round(np.asarray(decode(probes), np.float64), 3) + 0.0
    key = hashlib.sha256(shown.tobytes() + starts.tobytes() + ends.tobytes()).hexdigest()[:16]
    path = None if cache is None else cache / f"{key}.npy"
    if path is not None and path.exists():
        return np.load(path)
    found = distances(decode, starts, ends)
    if path is not None:
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, found)
    return found


def own_lengths(decode: Decode, curves: np.ndarray) -> np.ndarray:
    """Lengths of the tables' curves (pairs, n + 1, d) on 4,096 chords; NaN where nodes are not finite."""
    with jax.enable_x64(True):
        return measured(decode, np.asarray(curves, np.float64))


def counted(decode: Decode) -> tuple[Decode, Counter]:
    """The same map, and how many points it has decoded so far."""
    count: Counter = Counter()

    def counting(decode: Decode, z: jax.Array) -> jax.Array:
        points = len(z)
        jax.debug.callback(lambda _: count.update(points=points), z[0, 0])
        return decode(z)

    return Partial(counting, Partial(decode)), count


def row(name: str, options: argparse.Namespace) -> str:
    """What the table says of one map."""
    one = case(name, options.pairs, options.seed)
    decode, count = counted(one.decode) if options.decodes else (one.decode, None)
    settings = dict(options.set) | ({"codes": one.codes} if options.codes and one.codes is not None else {})
    with jax.enable_x64(options.dtype == "float64"):
        began = time.perf_counter()
        table = geodesics(decode, one.starts.astype(options.dtype), one.ends.astype(options.dtype), **settings)
        jax.effects_barrier()
        seconds = time.perf_counter() - began
    best, own = one.reference(options.cache), own_lengths(one.decode, table.curve)
    good = table.converged
    status = ", ".join(f"{Status(each).name} {n}" for each, n in sorted(Counter(table.status.tolist()).items()))
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        np.savez(options.save / f"{name}.npz", **table._asdict(), own=own, best=best)
    excess, ratio, below = (own / best)[good], (table.length / own)[good], (table.length / best)[good]
    if not good.any():
        excess = ratio = below = np.full(1, np.nan)
    cells = [
        f"{len(good)}",
        f"{good.mean():.1%}",
        f"{np.mean(excess > 1.001):.1%}",
        f"{np.mean(excess > 1.01):.1%}",
        f"{excess.max():.3f}",
        f"{np.mean(below < 0.99):.1%}",
        f"{ratio.min():.3f} to {ratio.max():.3f}",
        f"{np.mean(abs(ratio - 1) > 0.01):.1%}",
        f"{np.mean(own / best < 0.999):.1%}",
        f"{np.median(table.iterations):.0f}",
        f"{count['points'] / len(good):.0f}" if count else "",
        f"{seconds:.1f}",
        status,
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


COLUMNS = (
    "map | pairs | converged | > .1 % | > 1 % | worst | below | reported / own | off > 1 % | beaten | evaluations "
    "| decodes a pair | seconds | status"
)


def option(text: str) -> tuple[str, object]:
    """`key=value`, the value a Python literal or else a text."""
    key, _, value = text.partition("=")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="maps; none lists them, `all` takes all")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--set", type=option, action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--codes", action="store_true")
    parser.add_argument("--decodes", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--save", type=Path, help="folder for each table, with own lengths and references")
    options = parser.parse_args()
    names = list(MAPS) if options.names == ["all"] else options.names
    if unknown := [name for name in names if name not in MAPS]:
        parser.error(f"no maps {unknown}; there are {', '.join(MAPS)}")
    if not names:
        print("\n".join(MAPS))
        return
    print(f"| {COLUMNS} |\n|{'---|' * len(COLUMNS.split(' | '))}")
    for name in names:
        print(row(name, options), flush=True)


if __name__ == "__main__":
    main()

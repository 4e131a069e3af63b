"""Pairs of items of a split, solved by a run once and kept: a question that was answered is not asked again."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from identmetric_cli.checkpoint import seal_bytes
from identmetric_cli.config import Geodesic
from identmetric_cli.errors import DamagedError, InputError, UsageError
from identmetric_cli.files import read_sealed_npz, set_aside, sha256_parts, write_sealed_npz, write_text
from identmetric_cli.geometry import (
    Codes,
    Estimator,
    GeodesicTable,
    adam,
    conformal,
    geodesics,
    refine_endpoints,
    survey,
)
from identmetric_cli.geometry.solve import chunks
from identmetric_cli.geometry.table import joined
from identmetric_cli.models import EnsembleVAE, as_decoders
from identmetric_cli.models.encode import encode as encode_items
from identmetric_cli.report.tables import pair_rows, to_csv
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import finished_step, load_model
from identmetric_cli.stages.reporter import SILENT, Reporter

CACHE_FORMAT = 5
CODES = 1000


def draw_pairs(size: int, count: int, seed: int) -> np.ndarray:
    """`count` pairs of different indices below `size`, (count, 2), as the code of Syrota et al. (2025) draws them.

    No first member occurs twice; a second member may. Raises UsageError when there are too few items.
    """
    if count > size or size < 2:
        raise UsageError(f"{count} pairs need at least {max(count, 2)} items, got {size}", "ask for fewer pairs")
    generator = np.random.RandomState(seed)
    first = generator.choice(size, count, replace=False)
    second = generator.choice(size, count, replace=False)
    for same in np.flatnonzero(first == second):
        while second[same] == first[same]:
            second[same] = generator.choice(size)
    return np.stack([first, second], axis=1)


def all_pairs(count: int) -> np.ndarray:
    """Every pair of the first `count` indices, (count (count - 1) / 2, 2)."""
    return np.stack(np.triu_indices(count, k=1), axis=1)


@dataclass(frozen=True)
class Solved:
    """Latents of items and the geodesics between pairs of them."""

    means: np.ndarray
    """Where the encoder puts the items; latent baselines are between these."""
    ends: np.ndarray
    """Where curves end: refined means if so asked for. Not a number for items of no pair."""
    end_gain: np.ndarray
    """Share of an end's error that one more step of refinement promises to remove; not a number without any."""
    pairs: np.ndarray
    """Rows of `means` and `ends`, (pairs, 2)."""
    table: GeodesicTable
    estimator: Estimator


def estimator_of(settings: Geodesic, codes: Codes | None) -> Estimator:
    """The estimator that the settings name; raises InputError for `conformal` without a scale of disagreement."""
    if settings.estimator != "conformal":
        return Estimator(settings.estimator, seed=settings.seed)
    if codes is None:
        raise InputError("the estimator conformal needs the training data", "restore the data, or choose expected")
    try:
        return conformal(codes, settings.conformal_strength)
    except ValueError as error:
        raise InputError(str(error), "choose expected") from error


def solve_pairs(
    model: EnsembleVAE,
    items: np.ndarray,
    pairs: np.ndarray,
    settings: Geodesic,
    training: np.ndarray | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    parts: Path | None = None,
    reporter: Reporter = SILENT,
) -> Solved:
    """Encode items and solve pairs of them with the ensemble's decoders.

    `training` items, where there are any, tell where data lie. With a folder `parts` each chunk of pairs is stored
    there as soon as it is solved, and what is there already is not solved again.
    """
    dtype = np.dtype(settings.dtype)
    means = encode_items(model, items)[0].astype(dtype)
    used, tables = np.unique(pairs), []
    ends, end_gain = np.full_like(means, np.nan), np.full(len(means), np.nan)
    ends[used] = means[used]
    with jax.enable_x64(settings.dtype == "float64"):
        decode, codes = as_decoders(model, dtype), None
        if settings.refine_endpoints:
            refined = refine_endpoints(decode, means[used], items[used].reshape(len(used), -1))
            ends[used], end_gain[used] = refined.latents, refined.gain
        if training is not None:
            codes = survey(decode, encode_items(model, training[:: -(-len(training) // CODES)])[0].astype(dtype))
        estimator = estimator_of(settings, codes)
        for rows in chunks(len(pairs)):
            part = parts / f"{rows.start}.npz" if parts else None
            some = pairs[rows]

            def told(done: int, total: int, first: int = rows.start, size: int = len(some)) -> None:
                progress(first * total // size + done, len(pairs) * total // size)

            known = _read(part, reporter) if part else None
            if known is not None:
                tables.append(GeodesicTable(**known))
                told(len(some), len(some))
                continue
            table = geodesics(
                decode,
                ends[some[:, 0]],
                ends[some[:, 1]],
                estimator=estimator,
                solver=settings.solver,
                curve=settings.curve,
                adam_rule=adam.Rule(settings.learning_rate, settings.patience, settings.min_delta),
                tries=settings.starts,
                codes=codes,
                nodes=settings.nodes,
                rtol=settings.rtol,
                max_iter=settings.max_iter,
                batch_size=settings.batch_size,
                progress=told,
            )
            tables.append(table)
            if part is not None:
                write_sealed_npz(part, table._asdict())
    latent = np.linalg.norm(means[pairs[:, 1]] - means[pairs[:, 0]], axis=1)
    return Solved(means, ends, end_gain, pairs, joined(tables)._replace(euclidean_latent=latent), estimator)


def solve_and_keep(
    run: Run,
    items: np.ndarray,
    pairs: np.ndarray,
    settings: Geodesic,
    *,
    training: np.ndarray | None,
    names: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
    reporter: Reporter = SILENT,
) -> Solved:
    """Pairs of items solved by a run, from the run's store when it holds them intact, else computed and stored.

    An interrupted call leaves the chunks of pairs that it has solved, for the next one to go on from.
    """
    used, local = np.unique(pairs, return_inverse=True)
    local = local.reshape(pairs.shape)
    path = run.geodesics / f"{_question(run, items[used], local, settings, training is not None)}.npz"
    parts, stored = path.with_suffix(".parts"), _read(path, reporter)
    if stored is not None:
        table = GeodesicTable(**{name: stored[name] for name in GeodesicTable._fields})
        estimator = Estimator(settings.estimator, float(stored["estimator_weight"]), settings.seed)
        known = Solved(stored["means"], stored["ends"], stored["end_gain"], local, table, estimator)
    else:
        known = solve_pairs(load_model(run), items[used], local, settings, training, progress, parts, reporter)
        rows = pair_rows(known.table, local, [names[i] for i in used], settings, known.end_gain)
        write_text(path.with_suffix(".csv"), to_csv(rows))
        weight = np.asarray(known.estimator.weight)
        latents = {"means": known.means, "ends": known.ends, "end_gain": known.end_gain}
        write_sealed_npz(path, {**known.table._asdict(), **latents, "pairs": local, "estimator_weight": weight})
    # Another process may be at the same question, and clear away the same parts.
    shutil.rmtree(parts, ignore_errors=True)
    means, ends = np.full((2, len(items), known.means.shape[1]), np.nan, known.means.dtype)
    means[used], ends[used] = known.means, known.ends
    end_gain = np.full(len(items), np.nan)
    end_gain[used] = known.end_gain
    return replace(known, means=means, ends=ends, end_gain=end_gain, pairs=pairs)


def _read(path: Path, reporter: Reporter) -> dict[str, np.ndarray] | None:
    """What was stored; None, with a word on it, for what is damaged and has to be solved again."""
    try:
        return read_sealed_npz(path)
    except DamagedError as error:
        reporter.warn(f"{error.message}; set aside as {set_aside(path).name}, its geodesics are solved again")
        return None


def _question(run: Run, items: np.ndarray, pairs: np.ndarray, settings: Geodesic, with_codes: bool) -> str:
    seal = seal_bytes(run.checkpoints, finished_step(run))
    parts = (str(CACHE_FORMAT), seal, hashlib.sha256(items.tobytes()).digest(), pairs.tobytes())
    return sha256_parts([*parts, settings.model_dump_json(), str(with_codes)])[:16]

"""Train one run: from a configuration and a seed to a run directory that is finished, or ready to be resumed."""

import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from identmetric_cli import __version__, checkpoint
from identmetric_cli.config import Config, decisive
from identmetric_cli.data import Dataset
from identmetric_cli.errors import Interrupted, NumericalError, UsageError
from identmetric_cli.models import EnsembleVAE
from identmetric_cli.report import plots
from identmetric_cli.report.tables import plain
from identmetric_cli.runs import FINISHED, Run
from identmetric_cli.stages.assemble import (
    build_data,
    build_model,
    build_optimizer,
    check_fingerprint,
    located,
)
from identmetric_cli.stages.figures import drawn, pictured
from identmetric_cli.stages.reporter import SILENT, Reporter
from identmetric_cli.stages.resume import check_startable, is_finished, rest, restore, set_damaged_info_aside
from identmetric_cli.training.fit import Record, Settings, Snapshot, fit, test_scores
from identmetric_cli.training.step import init_state

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclass(frozen=True)
class TrainResult:
    """What one training came to."""

    run: str
    seed: int
    status: str
    epochs: int
    test_elbo: float | None
    test_mse: float | None
    test_kl: float | None
    """None is a score that was not finite."""
    seconds: float


class StopRequest:
    """Number of the signal that asked for an end, 0 before one did."""

    signal_number: int = 0


def train(
    config: Config,
    seed: int,
    run: Run,
    *,
    resume: bool = False,
    overwrite: bool = False,
    argv: Sequence[str] = (),
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> TrainResult:
    """Train `run` to the end and store all that it leaves behind.

    Nothing is deleted or written before all was checked. Raises what `check_startable` raises; InputError when the
    data of a run that goes on have changed; Interrupted, after a checkpoint, when `stop` was set; NumericalError on
    divergence.
    """
    stop = stop or StopRequest()
    config = located(config)
    check_startable(config, seed, run, resume=resume, overwrite=overwrite)
    if not overwrite and is_finished(run, reporter):
        reporter.note(f"{run.path} is finished already")
        return _result(run)
    data = build_data(config, reporter)
    if config.train.batch_size > len(data.train):
        raise UsageError(
            f"train.batch_size is {config.train.batch_size}, but there are only {len(data.train)} training items"
        )
    model = build_model(config, data.shape, seed)
    with run.lock():
        if overwrite:
            run.clear()
        set_damaged_info_aside(run, reporter)
        check_fingerprint(run, data)
        return _train(config, seed, run, data, model, argv, reporter, stop)


def _train(
    config: Config,
    seed: int,
    run: Run,
    data: Dataset,
    model: EnsembleVAE,
    argv: Sequence[str],
    reporter: Reporter,
    stop: StopRequest,
) -> TrainResult:
    began = time.perf_counter()
    optimizer = build_optimizer(config.train.learning_rate, config.train.gradient_clip)
    graphdef = nnx.graphdef(model)
    identity = {"seed": seed, "data": data.fingerprint, "config": decisive(config)}
    snapshot = restore(run, init_state(model, optimizer), identity, data, reporter)
    run.update(status="running", seed=seed, argv=list(argv), **_environment(data))
    run.write_config(config)
    run.write_metrics([record.as_dict() for record in snapshot.records])
    settings = _settings(config, seed)
    spent = run.info().get("seconds", 0.0)

    def save(snapshot: Snapshot) -> None:
        steps = len(data.train) // settings.batch_size
        items = {"last": snapshot.state.parameters, "best": snapshot.best, "rest": rest(snapshot.state)}
        step = snapshot.progress.epoch * steps + snapshot.progress.step
        records = [record.as_dict() for record in snapshot.records]
        meta = {"progress": snapshot.progress.as_dict(), "records": records, **identity}
        checkpoint.save(run.checkpoints, step, items, meta)
        run.update(seconds=spent + time.perf_counter() - began, epochs=snapshot.progress.epoch)

    try:
        with reporter.task(f"training {run.name}") as advance:
            advance(snapshot.progress.epoch, settings.epochs, "")
            for latest, record in fit(
                snapshot,
                graphdef,
                optimizer,
                data.train.items,
                data.validation.items,
                settings,
                save=save,
                stopping=lambda: stop.signal_number != 0,
            ):
                snapshot = latest
                run.append_metrics(record.as_dict())
                advance(
                    record.epoch,
                    settings.epochs,
                    f"ELBO {record.validation_elbo:.1f} = reconstruction {record.validation_reconstruction:.1f} "
                    f"- KL {record.validation_kl:.1f}",
                )
    except NumericalError:
        run.update(status="diverged")
        raise
    if not snapshot.progress.done:
        run.update(status="interrupted")
        raise Interrupted(
            f"{run.path}: stopped by signal {stop.signal_number} after a checkpoint",
            f"run the same command with --resume to go on, or: {run.command}",
            signal_number=stop.signal_number,
        )
    return _finish(config, seed, run, data, graphdef, snapshot, spent + time.perf_counter() - began, reporter)


def _finish(
    config: Config,
    seed: int,
    run: Run,
    data: Dataset,
    graphdef: nnx.GraphDef,
    snapshot: Snapshot,
    seconds: float,
    reporter: Reporter,
) -> TrainResult:
    progress = snapshot.progress
    scores, standard_error = test_scores(
        snapshot.best,
        graphdef,
        data.test.items,
        latent_dim=config.model.latent_dim,
        noise_variance=progress.best_noise_variance,
        batch_size=config.train.batch_size,
    )
    test = {
        "elbo": plain(scores.elbo),
        "elbo_standard_error": plain(standard_error),
        "reconstruction": plain(scores.reconstruction),
        "kl": plain(scores.kl),
        "mse": plain(scores.mean_squared_error),
    }
    if None in test.values():
        reporter.warn(f"{run.name}: the test scores are not finite; look for values out of range in the test split")
    if scores.kl < 1.0:
        reporter.warn(
            f"{run.name}: the latents carry {scores.kl:.2f} nats only; lower objective.noise_variance, or the "
            "geometry will describe noise"
        )
    _draw(nnx.merge(graphdef, snapshot.best), data, seed, snapshot.records, run, reporter)
    run.update(
        status=FINISHED,
        finished_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        seconds=seconds,
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        noise_variance=progress.best_noise_variance,
        checkpoint=checkpoint.sealed_steps(run.checkpoints)[-1],
        test=test,
    )
    return _result(run)


def _draw(
    model: EnsembleVAE, data: Dataset, seed: int, records: Sequence[Record], run: Run, reporter: Reporter
) -> None:
    decode = jax.jit(lambda model, z: model.decode(z))
    sample = data.test.items[:10]

    def reconstructions(path: Path) -> None:
        mean, _ = jax.jit(lambda model, x: model.encode(x))(model, sample)
        plots.reconstructions(sample, np.asarray(decode(model, mean)), path)

    def prior_samples(path: Path) -> None:
        z = jax.random.normal(jax.random.key(seed), (len(sample), run.config().model.latent_dim))
        plots.prior_samples(np.asarray(decode(model, z)), path)

    images = {"reconstructions": reconstructions, "prior_samples": prior_samples}
    figures = {"loss_curves": lambda path: plots.loss_curves([record.as_dict() for record in records], path)}
    drawn(figures | (images if pictured(data.shape, reporter) else {}), run.figures, reporter)


def _settings(config: Config, seed: int) -> Settings:
    train, objective = config.train, config.objective
    return Settings(
        seed=seed,
        latent_dim=config.model.latent_dim,
        epochs=train.epochs,
        batch_size=train.batch_size,
        patience=train.patience,
        min_delta=train.min_delta,
        checkpoint_every=train.checkpoint_every,
        noise_variance=None if objective.noise_variance == "optimal" else objective.noise_variance,
        beta=objective.beta,
    )


def _environment(data: Dataset) -> dict:
    return {
        "version": __version__,
        "packages": {name: version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "device": str(jax.devices()[0].device_kind),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "source": data.name,
            "shape": list(data.shape),
            "fingerprint": data.fingerprint,
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
            "white": data.white,
        },
    }


def _result(run: Run) -> TrainResult:
    info = run.info()
    return TrainResult(
        run=str(run.path),
        seed=info["seed"],
        status=info["status"],
        epochs=info["epochs"],
        test_elbo=info["test"]["elbo"],
        test_mse=info["test"]["mse"],
        test_kl=info["test"]["kl"],
        seconds=round(info["seconds"], 2),
    )

"""Train one run: from a configuration and a seed to a run directory that is finished, or ready to be resumed."""

import platform
import shutil
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
from identmetric_cli.config import Config, differences
from identmetric_cli.data import Dataset
from identmetric_cli.errors import Interrupted, NumericalError, UsageError
from identmetric_cli.models import EnsembleVAE
from identmetric_cli.report import plots
from identmetric_cli.runs import FINISHED, Run, refuse_links
from identmetric_cli.stages.assemble import build_data, build_model, build_optimizer
from identmetric_cli.stages.figures import drawn, pictured
from identmetric_cli.stages.reporter import SILENT, Reporter
from identmetric_cli.training.fit import Progress, Settings, Snapshot, fit, test_scores
from identmetric_cli.training.step import TrainState, init_state

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclass(frozen=True)
class TrainResult:
    """What one training came to."""

    run: str
    seed: int
    status: str
    epochs: int
    test_elbo: float
    test_mse: float
    test_kl: float
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

    Raises UsageError when the run exists and neither `resume` nor `overwrite` is said, or when its stored
    configuration differs; Interrupted after a checkpoint when `stop` was set; NumericalError on divergence.
    """
    stop = stop or StopRequest()
    _check_existing(config, seed, run, resume=resume, overwrite=overwrite)
    with run.lock():
        if overwrite:
            _clear(run)
        if run.finished:
            reporter.note(f"{run.path} is finished already")
            return _result(run)
        data = build_data(config, reporter)
        if config.train.batch_size > len(data.train):
            raise UsageError(
                f"train.batch_size is {config.train.batch_size}, but there are only {len(data.train)} training items"
            )
        model = build_model(config, data.shape, seed)
        run.write_config(config)
        run.update(status="running", seed=seed, argv=list(argv), **_environment(data))
        return _train(config, seed, run, data, model, reporter, stop)


def _train(
    config: Config,
    seed: int,
    run: Run,
    data: Dataset,
    model: EnsembleVAE,
    reporter: Reporter,
    stop: StopRequest,
) -> TrainResult:
    began = time.perf_counter()
    optimizer = build_optimizer(config.train.learning_rate, config.train.gradient_clip)
    graphdef = nnx.graphdef(model)
    snapshot = _restore(run, init_state(model, optimizer), reporter)
    settings = _settings(config, seed)
    spent = run.info().get("seconds", 0.0)

    def save(snapshot: Snapshot) -> None:
        steps = len(data.train) // settings.batch_size
        items = {"last": snapshot.state.parameters, "best": snapshot.best, "rest": _rest(snapshot.state)}
        step = snapshot.progress.epoch * steps + snapshot.progress.step
        checkpoint.save(run.checkpoints, step, items, snapshot.progress.as_dict())
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
            "run the same command with --resume to go on",
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
    if scores.kl < 1.0:
        reporter.warn(
            f"{run.name}: the latents carry {scores.kl:.2f} nats only; lower objective.noise_variance, or the "
            "geometry will describe noise"
        )
    _draw(nnx.merge(graphdef, snapshot.best), data, seed, run, reporter)
    run.update(
        status=FINISHED,
        finished_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        seconds=seconds,
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        noise_variance=progress.best_noise_variance,
        test={
            "elbo": float(scores.elbo),
            "elbo_standard_error": standard_error,
            "reconstruction": float(scores.reconstruction),
            "kl": float(scores.kl),
            "mse": float(scores.mean_squared_error),
        },
    )
    return _result(run)


def _draw(model: EnsembleVAE, data: Dataset, seed: int, run: Run, reporter: Reporter) -> None:
    decode = jax.jit(lambda model, z: model.decode(z))
    sample = data.test.items[:10]

    def reconstructions(path: Path) -> None:
        mean, _ = jax.jit(lambda model, x: model.encode(x))(model, sample)
        plots.reconstructions(sample, np.asarray(decode(model, mean)), path)

    def prior_samples(path: Path) -> None:
        z = jax.random.normal(jax.random.key(seed), (len(sample), run.config().model.latent_dim))
        plots.prior_samples(np.asarray(decode(model, z)), path)

    images = {"reconstructions": reconstructions, "prior_samples": prior_samples}
    figures = {"loss_curves": lambda path: plots.loss_curves(run.metrics(), path)}
    drawn(figures | (images if pictured(data.shape, reporter) else {}), run.figures, reporter)


def _check_existing(config: Config, seed: int, run: Run, *, resume: bool, overwrite: bool) -> None:
    # A run that was refused before it began has left its lock and nothing else.
    if overwrite or not run.path.exists() or [each.name for each in run.path.iterdir()] == [".lock"]:
        return
    if not resume:
        raise UsageError(
            f"{run.path} exists already",
            "--resume goes on with it, --overwrite starts it afresh, --name gives another name",
        )
    if not (run.path / "config.toml").exists():
        return
    stored = run.config()
    differing = [line for line in differences(stored, config) if not line.startswith("geodesic.")]
    if differing:
        raise UsageError(
            f"{run.path} was started with another configuration (stored and given): " + "; ".join(differing),
            f"resume it with its own: identmetric train {run.path / 'config.toml'} --resume",
        )
    if run.info().get("seed", seed) != seed:
        raise UsageError(f"{run.path} was started with seed {run.info()['seed']}, got {seed}")


def _clear(run: Run) -> None:
    """Empty a run directory; the lock file stays."""
    refuse_links(run.path)
    entries = [entry for entry in run.path.iterdir() if entry.name != ".lock"]
    if entries and not (run.path / "run.json").exists() and not (run.path / "config.toml").exists():
        raise UsageError(f"{run.path} is not a run directory; it is left alone", "choose another --name")
    for entry in entries:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _restore(run: Run, initial: TrainState, reporter: Reporter) -> Snapshot:
    found = checkpoint.newest(run.checkpoints)
    for path in checkpoint.quarantine(run.checkpoints, found[0] if found else None):
        reporter.warn(f"set aside {path}: not a whole checkpoint")
    if found is None:
        run.write_metrics([])
        return Snapshot(initial, initial.parameters, Progress())
    step, meta, _ = found
    progress = Progress(**meta)
    parameters = checkpoint.abstract(initial.parameters)
    items = checkpoint.restore(
        run.checkpoints,
        step,
        {"last": parameters, "best": parameters, "rest": checkpoint.abstract(_rest(initial))},
    )
    run.write_metrics([record for record in run.metrics() if record["epoch"] <= progress.epoch])
    reporter.note(f"{run.name}: going on after epoch {progress.epoch}")
    return Snapshot(TrainState(parameters=items["last"], **items["rest"]), items["best"], progress)


def _rest(state: TrainState) -> dict:
    rest = state._asdict()
    del rest["parameters"]
    return rest


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

"""From a configuration or a run to data and models: the one place that knows both."""

import math
from functools import lru_cache
from pathlib import Path

import jax
import numpy as np
import optax
from flax import nnx

from identmetric_cli import checkpoint
from identmetric_cli.config import Config, MlpModel, decisive, differences
from identmetric_cli.data import Dataset, load_dataset
from identmetric_cli.data.dataset import DEFAULT_ROOT, TORCHVISION, names_a_path
from identmetric_cli.errors import CheckpointError, InputError, UsageError
from identmetric_cli.models import EnsembleVAE, conv_vae, mlp_vae
from identmetric_cli.runs import Run
from identmetric_cli.stages.reporter import SILENT, Reporter


def build_data(config: Config, reporter: Reporter = SILENT) -> Dataset:
    """The data set of a configuration; the reporter is told how it was read."""
    data = load_dataset(**config.data.model_dump())
    for note in data.notes:
        reporter.note(f"{data.name}: {note}")
    for warning in data.warnings:
        reporter.warn(f"{data.name}: {warning}")
    return data


def build_model(config: Config, shape: tuple[int, ...], seed: int) -> EnsembleVAE:
    """Freshly initialised model for items of `shape`; raises UsageError when the networks do not fit it."""
    model = config.model
    common = {
        "latent_dim": model.latent_dim,
        "decoders": model.decoders,
        "activation": model.activation,
        "seed": seed,
    }
    if isinstance(model, MlpModel):
        return mlp_vae(shape, hidden=model.hidden, **common)
    if len(shape) != 3:
        raise UsageError(
            f'model.network = "conv" needs images, but the items of {config.data.source} have shape {shape}',
            'set model.network = "mlp"',
        )
    side = 2 * math.prod(model.decoder_scales)
    if side < max(shape[:2]):
        raise UsageError(
            f"model.decoder_scales lead from 2 to {side} pixels, but the images have {shape[0]}x{shape[1]}",
            "put more 2s into model.decoder_scales",
        )
    return conv_vae(
        shape,
        encoder_channels=model.encoder_channels,
        decoder_channels=model.decoder_channels,
        decoder_scales=model.decoder_scales,
        **common,
    )


@lru_cache
def build_optimizer(learning_rate: float, gradient_clip: float | None) -> optax.GradientTransformation:
    """Adam, after clipping of the global norm where asked for; one object per setting, so steps compile once."""
    adam = optax.adam(learning_rate)
    return adam if gradient_clip is None else optax.chain(optax.clip_by_global_norm(gradient_clip), adam)


def load_run_data(run: Run) -> Dataset:
    """The data set that a run was trained on, read from where the user says it is now, or where it was.

    Raises InputError when it is not there or not the same.
    """
    config, moved = run.config(), f"--data PATH says where the data of {run.name} are now"
    if run.data_source is not None:
        config = with_source(config, run.data_source)
    try:
        data = build_data(config)
    except InputError as error:
        raise InputError(error.message, moved if run.data_source is None else error.hint) from error
    check_fingerprint(run, data)
    return data


def check_fingerprint(run: Run, data: Dataset) -> None:
    """Raise InputError unless `data` is what the run was trained on, or nothing is known of that."""
    trained = run.info().get("data", {}).get("fingerprint", data.fingerprint)
    if trained != data.fingerprint:
        raise data_changed(run, data)


def data_changed(run: Run, data: Dataset) -> InputError:
    """The refusal of data that are not those of a run."""
    return InputError(
        f"{data.name} is not the data that {run.path} was trained on: its content has changed",
        "restore the data, say where they are with --data PATH, or train the run again with --overwrite",
    )


def with_source(config: Config, source: str) -> Config:
    """The configuration with another place of its data, as an absolute path."""
    data = config.data.model_copy(update={"source": source})
    return located(config.model_copy(update={"data": data}))


def located(config: Config) -> Config:
    """The configuration with absolute paths, so that it means the same data in every folder."""
    data, changed = config.data, {}
    if names_a_path(data.source):
        changed["source"] = str(Path(data.source).expanduser().absolute())
    elif data.source.startswith(TORCHVISION):
        changed["root"] = str(Path(data.root or DEFAULT_ROOT).expanduser().absolute())
    return config.model_copy(update={"data": data.model_copy(update=changed)})


def finished_step(run: Run) -> int:
    """The checkpoint that a run's training ended with, verified.

    Raises CheckpointError when it is missing or damaged: an older one holds another model, whose numbers would stand
    beside this one's test scores.
    """
    steps = checkpoint.sealed_steps(run.checkpoints)
    step = run.info().get("checkpoint", steps[-1] if steps else None)
    fault = "there is none" if step is None else checkpoint.fault(run.checkpoints, step)
    if fault is not None:
        raise CheckpointError(
            f"{run.path}: the checkpoint that its training ended with is damaged ({fault})",
            f"{run.command} trains the lost part again; or leave the run out",
        )
    return step


def load_model(run: Run) -> EnsembleVAE:
    """The best model of a finished run; raises CheckpointError when its last step is not intact."""
    config, step = run.config(), finished_step(run)
    differing = differences(checkpoint.meta(run.checkpoints, step).get("config", {}), decisive(config))
    if differing:
        raise CheckpointError(
            f"{run.path / 'config.toml'} is not what the run was trained with (trained and stored): "
            + "; ".join(differing),
            "restore the file, or leave the run out",
        )
    shape = tuple(run.info()["data"]["shape"])
    graphdef, target = nnx.split(build_model(config, shape, 0))
    restored = checkpoint.restore(run.checkpoints, step, {"best": checkpoint.abstract(target)})["best"]
    if not all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(restored)):
        raise CheckpointError(f"{run.path}: the checkpoint holds values that are not finite")
    return nnx.merge(graphdef, restored)

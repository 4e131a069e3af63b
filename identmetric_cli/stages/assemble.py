"""From a configuration or a run to data and models: the one place that knows both."""

import math
from functools import lru_cache

import jax
import numpy as np
import optax
from flax import nnx

from identmetric_cli import checkpoint
from identmetric_cli.config import Config, MlpModel
from identmetric_cli.data import Dataset, load_dataset
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
    """The data set that a run was trained on; raises InputError when the source has changed since."""
    data = build_data(run.config())
    trained = run.info().get("data", {}).get("fingerprint")
    if trained != data.fingerprint:
        raise InputError(
            f"{data.name} is not the data that {run.path} was trained on: its content has changed",
            "restore the data, or train the run again with --overwrite",
        )
    return data


def load_model(run: Run) -> EnsembleVAE:
    """The best model of a run; raises CheckpointError when no step is intact."""
    config = run.config()
    found = checkpoint.newest(run.checkpoints)
    if found is None:
        raise CheckpointError(
            f"{run.path} has no finished checkpoint", f"identmetric train {run.path / 'config.toml'} --resume"
        )
    shape = tuple(run.info()["data"]["shape"])
    graphdef, target = nnx.split(build_model(config, shape, 0))
    restored = checkpoint.restore(run.checkpoints, found[0], {"best": checkpoint.abstract(target)})["best"]
    if not all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(restored)):
        raise CheckpointError(f"{run.path}: the checkpoint holds values that are not finite")
    return nnx.merge(graphdef, restored)

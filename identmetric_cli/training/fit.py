"""The training loop: yields one record per epoch, stops early, can be stopped at any step and taken up again.

It knows nothing of files: the caller hands in `save`, which stores a snapshot, and receives records. A snapshot
is all that decides the rest of the run, so a run that is resumed from one ends with the same bytes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from identmetric_cli.batching import in_batches
from identmetric_cli.errors import NumericalError
from identmetric_cli.models.objectives import reconstruction_loss
from identmetric_cli.training.batches import epoch_order, step_key
from identmetric_cli.training.step import Scores, TrainState, make_evaluate, make_step, next_epoch

MAX_SKIPPED_IN_A_ROW = 10
EVALUATION_SEED = 0
DIVERGENCE_HINT = (
    "lower train.learning_rate, set train.gradient_clip (1.0, say), and look for values out of range in the data"
)


@dataclass(frozen=True)
class Progress:
    """Where a run stands, beside its arrays."""

    epoch: int = 0
    """Epochs that are complete."""
    step: int = 0
    """Steps of the current epoch that are done."""
    best_epoch: int = 0
    best_elbo: float | None = None
    best_noise_variance: float | None = None
    done: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Snapshot:
    """Arrays, progress and records: everything a checkpoint holds."""

    state: TrainState
    best: Any
    """Parameters of the best epoch so far."""
    progress: Progress
    records: tuple["Record", ...] = ()
    """One for each epoch that is complete."""


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know of the configuration."""

    seed: int
    latent_dim: int
    epochs: int
    batch_size: int
    patience: int
    min_delta: float
    checkpoint_every: int
    noise_variance: float | None
    """None means the maximum-likelihood value."""
    beta: float


@dataclass(frozen=True)
class Record:
    """One epoch, in nats per item unless said."""

    epoch: int
    train_elbo: float
    train_reconstruction: float
    train_kl: float
    validation_elbo: float
    validation_reconstruction: float
    validation_kl: float
    validation_mse: float
    """Mean squared error per number."""
    noise_variance: float
    """Value that both ELBOs of this record use."""
    skipped: int
    """Steps left out so far because loss or gradient were not finite."""
    best: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def fit(
    snapshot: Snapshot,
    graphdef: Any,
    optimizer: optax.GradientTransformation,
    train: np.ndarray,
    validation: np.ndarray,
    settings: Settings,
    *,
    save: Callable[[Snapshot], None],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Snapshot, Record]]:
    """Train from a snapshot until early stopping or the last epoch, yielding after each epoch.

    `save` is called every `checkpoint_every` epochs, at the end, and before the loop returns because `stopping`
    said so. Raises NumericalError after too many steps in a row without a finite loss and gradient.
    """
    step = make_step(graphdef, optimizer, noise_variance=settings.noise_variance, beta=settings.beta)
    evaluate = make_evaluate(graphdef, every_decoder=False)
    while not snapshot.progress.done:
        state, progress = snapshot.state, snapshot.progress
        order = epoch_order(len(train), settings.batch_size, settings.seed, progress.epoch)
        for index in range(progress.step, len(order)):
            if stopping():
                save(replace(snapshot, state=state, progress=replace(progress, step=index)))
                return
            key = step_key(settings.seed, progress.epoch, index)
            state = step(state, train[order[index]], key)
            if index % MAX_SKIPPED_IN_A_ROW == 0 or index == len(order) - 1:
                _refuse_divergence(state, progress.epoch, min(MAX_SKIPPED_IN_A_ROW, len(order)))
        snapshot, record = _finish_epoch(replace(snapshot, state=state), evaluate, validation, settings)
        if snapshot.progress.done or snapshot.progress.epoch % settings.checkpoint_every == 0:
            save(snapshot)
        yield snapshot, record


def test_scores(
    parameters: Any, graphdef: Any, items: np.ndarray, *, latent_dim: int, noise_variance: float, batch_size: int
) -> tuple[Scores, float]:
    """ELBO and its terms on unseen items, all decoders on every item, and the ELBO's standard error over items."""
    evaluate = make_evaluate(graphdef, every_decoder=True)
    errors, kls = evaluate_all(evaluate, parameters, items, latent_dim, batch_size)
    scores = combine(errors, kls, noise_variance, items[0].size)
    each = errors / (2 * noise_variance) + kls
    return scores, float(np.std(each, ddof=1) / math.sqrt(len(each)))


def evaluate_all(
    evaluate: Callable[..., Any], parameters: Any, items: np.ndarray, latent_dim: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Squared error and KL of every item, each with the same posterior noise whenever it is asked."""
    noise = np.random.default_rng(EVALUATION_SEED).standard_normal((len(items), latent_dim), np.float32)
    errors, kls = in_batches(partial(evaluate, parameters), (items, noise), batch_size)
    return errors.astype(np.float64), kls.astype(np.float64)


def combine(errors: np.ndarray, kls: np.ndarray, noise_variance: float, size: int) -> Scores:
    """Mean ELBO and its terms from squared errors and KL divergences."""
    mse = float(errors.mean() / size)
    reconstruction, kl = -float(reconstruction_loss(mse, noise_variance, size)), float(kls.mean())
    return Scores(reconstruction - kl, reconstruction, kl, mse)


def _finish_epoch(
    snapshot: Snapshot, evaluate: Callable[..., Any], validation: np.ndarray, settings: Settings
) -> tuple[Snapshot, Record]:
    state, progress = snapshot.state, snapshot.progress
    error_sum, kl_sum, steps, skipped = jax.device_get((state.error_sum, state.kl_sum, state.steps, state.skipped))
    mse, kl = float(error_sum / steps), float(kl_sum / steps)
    variance = mse if settings.noise_variance is None else settings.noise_variance
    size = validation[0].size
    train_reconstruction = -float(reconstruction_loss(mse, variance, size))
    errors, kls = evaluate_all(evaluate, state.parameters, validation, settings.latent_dim, settings.batch_size)
    scores = combine(errors, kls, variance, size)
    epoch = progress.epoch + 1
    if not math.isfinite(scores.elbo):
        raise NumericalError(f"the validation ELBO of epoch {epoch} is not finite", DIVERGENCE_HINT)
    best = progress.best_elbo is None or scores.elbo > progress.best_elbo + settings.min_delta
    if best:
        progress = replace(progress, best_epoch=epoch, best_elbo=float(scores.elbo), best_noise_variance=variance)
    patience_spent = epoch - progress.best_epoch >= settings.patience
    progress = replace(progress, epoch=epoch, step=0, done=patience_spent or epoch >= settings.epochs)
    record = Record(
        epoch,
        train_reconstruction - kl,
        train_reconstruction,
        kl,
        scores.elbo,
        scores.reconstruction,
        scores.kl,
        scores.mean_squared_error,
        variance,
        int(skipped),
        best,
    )
    best_so_far = state.parameters if best else snapshot.best
    return Snapshot(next_epoch(state), best_so_far, progress, (*snapshot.records, record)), record


def _refuse_divergence(state: TrainState, epoch: int, limit: int) -> None:
    if int(state.skipped_in_a_row) >= limit:
        raise NumericalError(
            f"training diverged in epoch {epoch + 1}: loss or gradient were not finite in "
            f"{int(state.skipped_in_a_row)} steps in a row",
            DIVERGENCE_HINT,
        )

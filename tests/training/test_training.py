"""Training on real digits: steps, batches, early stopping, and runs that stop and go on."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx

from identmetric_cli.data import load_dataset
from identmetric_cli.errors import NumericalError
from identmetric_cli.models import mlp_vae
from identmetric_cli.stages.assemble import build_optimizer
from identmetric_cli.training.batches import epoch_order, step_key
from identmetric_cli.training.fit import MAX_SKIPPED_IN_A_ROW, Progress, Settings, Snapshot, fit
from identmetric_cli.training.step import init_state, make_step, next_epoch

SETTINGS = Settings(
    seed=3,
    latent_dim=2,
    epochs=2,
    batch_size=32,
    patience=5,
    min_delta=0.0,
    checkpoint_every=1,
    noise_variance=None,
    beta=1.0,
)
STEPS = 3


@pytest.fixture(scope="module")
def data():
    digits = load_dataset("digits", limit=200)
    return digits.train.items[: STEPS * 32 + 5], digits.validation.items


@pytest.fixture(scope="module")
def optimizer():
    return build_optimizer(3e-3, None)


def beginning(optimizer):
    model = mlp_vae((8, 8, 1), latent_dim=2, decoders=2, hidden=[16], activation="elu", seed=0)
    state = init_state(model, optimizer)
    return Snapshot(state, state.parameters, Progress()), nnx.graphdef(model)


def train(snapshot, graphdef, optimizer, data, settings=SETTINGS, stop_after=None):
    """Records, saved snapshots and the last snapshot; `stop_after` counts questions whether to stop."""
    saved, records, asked = [], [], 0

    def stopping():
        nonlocal asked
        asked += 1
        return stop_after is not None and asked > stop_after

    last = snapshot
    for latest, record in fit(snapshot, graphdef, optimizer, *data, settings, save=saved.append, stopping=stopping):
        last = latest
        records.append(record)
    return records, saved, last


def same(a, b):
    pairs = zip(jax.tree.leaves((a.state, a.best)), jax.tree.leaves((b.state, b.best)), strict=True)
    return a.progress == b.progress and all(np.array_equal(x, y) for x, y in pairs)


@pytest.fixture(scope="module")
def whole(optimizer, data):
    return train(*beginning(optimizer), optimizer, data)


def test_batches_cover_rows_once_and_depend_on_seed_and_epoch():
    order = epoch_order(101, 32, 0, 0)
    assert order.shape == (3, 32)
    assert len(np.unique(order)) == 96
    assert np.array_equal(order, epoch_order(101, 32, 0, 0))
    assert not np.array_equal(order, epoch_order(101, 32, 1, 0))
    left_over = [set(range(101)) - set(epoch_order(101, 32, 0, epoch).ravel().tolist()) for epoch in range(2)]
    assert left_over[0] != left_over[1]
    assert not np.array_equal(*(jax.random.key_data(step_key(0, epoch, 1)) for epoch in (0, 1)))


@pytest.mark.parametrize("stop_after", range(2 * STEPS))
def test_a_run_that_stops_at_any_step_ends_with_the_same_bytes(stop_after, whole, optimizer, data):
    snapshot, graphdef = beginning(optimizer)
    before, saved, _ = train(snapshot, graphdef, optimizer, data, stop_after=stop_after)
    assert saved[-1].progress.epoch * STEPS + saved[-1].progress.step == stop_after
    after, _, last = train(saved[-1], graphdef, optimizer, data)
    assert same(last, whole[2])
    assert before + after == whole[0]


@pytest.mark.parametrize("lost", ["optimizer", "error_sum", "seed"])
def test_state_that_is_lost_is_noticed(lost, whole, optimizer, data):
    snapshot, graphdef = beginning(optimizer)
    _, saved, _ = train(snapshot, graphdef, optimizer, data, stop_after=4)
    damaged, settings = saved[-1], SETTINGS
    if lost == "seed":
        settings = replace(SETTINGS, seed=4)
    else:
        damaged = replace(damaged, state=damaged.state._replace(**{lost: getattr(snapshot.state, lost)}))
    records, _, last = train(damaged, graphdef, optimizer, data, settings)
    assert not same(last, whole[2]) or records != whole[0][1:]


def test_training_lowers_the_loss(optimizer, data):
    records, _, _ = train(*beginning(optimizer), optimizer, data, replace(SETTINGS, epochs=8))
    assert records[-1].validation_elbo > records[0].validation_elbo + 10
    assert [record.epoch for record in records] == list(range(1, 9))


def test_early_stopping_keeps_the_best(optimizer, data):
    settings = replace(SETTINGS, epochs=50, patience=2, min_delta=1e6)
    records, saved, last = train(*beginning(optimizer), optimizer, data, settings)
    assert len(records) == 3 and last.progress.done and last.progress.best_epoch == 1
    after_first = saved[0].state.parameters
    kept = zip(jax.tree.leaves(last.best), jax.tree.leaves(after_first), strict=True)
    assert all(np.array_equal(a, b) for a, b in kept)


def test_a_bad_batch_changes_nothing_but_a_counter(optimizer, data):
    snapshot, graphdef = beginning(optimizer)
    step = make_step(graphdef, optimizer, noise_variance=None, beta=1.0)
    good = step(snapshot.state, data[0][:32], step_key(0, 0, 0))
    bad = data[0][:32].copy()  # a step may still be reading its batch when it returns
    bad[5, 3, 3] = np.nan
    left = step(good, bad, step_key(0, 0, 1))
    assert int(left.skipped) == int(left.skipped_in_a_row) == 1
    pairs = zip(jax.tree.leaves(left[:5]), jax.tree.leaves(good[:5]), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    again = step(left, data[0][:32], step_key(0, 0, 2))
    assert (int(again.skipped), int(again.skipped_in_a_row), int(again.steps)) == (1, 0, 2)
    assert int(next_epoch(again).steps) == 0


def test_divergence_is_an_error(optimizer, data):
    snapshot, graphdef = beginning(optimizer)
    items = np.full_like(np.tile(data[0], (5, 1, 1, 1)), np.nan)
    with pytest.raises(NumericalError) as caught:
        train(snapshot, graphdef, optimizer, (items, data[1]))
    assert "learning_rate" in caught.value.hint
    assert len(items) // 32 > MAX_SKIPPED_IN_A_ROW


def test_the_step_is_compiled_once_for_runs_of_one_kind(optimizer, data):
    (_, first), (_, second) = beginning(optimizer), beginning(optimizer)
    step = make_step(first, optimizer, noise_variance=None, beta=1.0)
    assert make_step(second, optimizer, noise_variance=None, beta=1.0) is step
    assert step._cache_size() == 1

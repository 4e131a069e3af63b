"""What stands between a run directory and its training: whether it may be trained, and where it stands.

The newest intact checkpoint is the authority: it holds seed, configuration and data fingerprint beside the arrays.
The files around it are copies for people, and made anew where they are damaged.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from identmetric_cli import checkpoint
from identmetric_cli.config import Config, decisive, differences
from identmetric_cli.data import Dataset
from identmetric_cli.errors import DamagedError, StorageError, UsageError
from identmetric_cli.files import set_aside
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import data_changed, finished_step
from identmetric_cli.stages.reporter import Reporter
from identmetric_cli.training.fit import Progress, Record, Snapshot
from identmetric_cli.training.step import TrainState


def check_startable(config: Config, seed: int, run: Run, *, resume: bool, overwrite: bool) -> None:
    """Raise UsageError unless a run may be begun, resumed or overwritten as it was asked for; changes nothing."""
    # A run that was refused or killed before it began has left its lock, and perhaps a file that was not yet renamed.
    if not run.path.exists() or all(each.name.startswith(".") for each in run.path.iterdir()):
        return
    if overwrite:
        if not run.ours:
            raise UsageError(f"{run.path} is not a run directory; it is left alone", "choose another --name")
        return
    if not resume:
        raise UsageError(
            f"{run.path} exists already",
            "--resume goes on with it, --overwrite starts it afresh, --name gives another name",
        )
    asked = {"seed": seed, "config": decisive(config)}
    # What is damaged is made anew, if the checkpoint agrees with what is asked.
    with contextlib.suppress(StorageError):
        _refuse_another(run, {"seed": run.info().get("seed", seed), "config": decisive(run.config())}, asked)


def _refuse_another(run: Run, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    differing = differences(stored["config"], asked["config"])
    if differing:
        raise UsageError(
            f"{run.path} was started with another configuration (stored and given): " + "; ".join(differing),
            f"resume it with its own: {run.command}",
        )
    if stored["seed"] != asked["seed"]:
        what = f"{run.path} was started with seed {stored['seed']}, got {asked['seed']}"
        raise UsageError(what, f"go on with it: {run.command}")


def is_finished(run: Run, reporter: Reporter) -> bool:
    """Whether a run is finished and whole; one that is damaged is told of, and is not."""
    try:
        return run.finished and finished_step(run) is not None
    except StorageError as error:
        reporter.warn(f"{error.message}; going on from what is intact")
        return False


def set_damaged_info_aside(run: Run, reporter: Reporter) -> None:
    """Make way for a new run.json where the old one is damaged."""
    try:
        run.info()
    except DamagedError:
        reporter.warn(f"set aside {set_aside(run.path / 'run.json')}, written anew")


def restore(
    run: Run, initial: TrainState, identity: Mapping[str, Any], data: Dataset, reporter: Reporter
) -> Snapshot:
    """The newest intact snapshot, else the initial one; raises UsageError or InputError if it is another run's."""
    found = checkpoint.newest(run.checkpoints)
    if found is not None:
        stored = identity | found[1]
        _refuse_another(run, stored, identity)
        if stored["data"] != identity["data"]:
            raise data_changed(run, data)
    for path in checkpoint.quarantine(run.checkpoints, found[0] if found else None):
        reporter.warn(f"set aside {path}: not a whole checkpoint")
    if found is None:
        return Snapshot(initial, initial.parameters, Progress())
    step, meta = found
    progress = Progress(**meta.get("progress", meta))
    # Seals of format 1 held no records.
    records = meta.get("records", [each for each in run.metrics() if each["epoch"] <= progress.epoch])
    parameters = checkpoint.abstract(initial.parameters)
    items = checkpoint.restore(
        run.checkpoints,
        step,
        {"last": parameters, "best": parameters, "rest": checkpoint.abstract(rest(initial))},
    )
    reporter.note(f"{run.name}: going on after epoch {progress.epoch}")
    state = TrainState(parameters=items["last"], **items["rest"])
    return Snapshot(state, items["best"], progress, tuple(Record(**each) for each in records))


def rest(state: TrainState) -> dict[str, Any]:
    """The state without the parameters, which a checkpoint holds under names of their own."""
    return {name: value for name, value in state._asdict().items() if name != "parameters"}

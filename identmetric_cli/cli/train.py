"""identmetric train"""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from identmetric_cli.cli.console import Output, table
from identmetric_cli.cli.options import Overrides
from identmetric_cli.errors import DamagedError, NumericalError, PartialError, UsageError

if TYPE_CHECKING:
    from identmetric_cli.runs import Run
    from identmetric_cli.stages.train import StopRequest

NAME = "train"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def command(
    out: Output,
    config: Annotated[str | None, typer.Argument(help="Preset or TOML file. (default: mnist)")] = None,
    overrides: Overrides = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, one run each: 0-4 or 0,3,7. (default: 0)")] = None,
    runs_dir: Annotated[
        Path | None, typer.Option("--runs-dir", help="Folder that holds the runs. (default: runs)")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="PATH", help="Data to train on, in place of data.source.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="First part of the run's name. (default: the preset)")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with runs that were interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start existing runs afresh.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
) -> None:
    """Train VAEs with an ensemble of decoders, one run a seed.

    Example: identmetric train mnist --seeds 0-4

    Example: identmetric train mnist --set model.latent_dim=2 --name flat

    A run's own configuration names that run. Example: identmetric train runs/mnist-s3/config.toml --resume
    """
    from identmetric_cli.config import load

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    resolved = load(config, overrides or ())
    runs, numbers = _plan(config, seeds, runs_dir, name)
    if dry_run:
        plan = [{"run": str(run.path), "seed": seed} for run, seed in zip(runs, numbers, strict=True)]
        rows = [[each["run"], str(each["seed"])] for each in plan]
        out.result(plan, lambda console: console.print(table(["run", "seed"], rows)), following=[])
        return
    from identmetric_cli.stages.assemble import with_source
    from identmetric_cli.stages.resume import check_startable
    from identmetric_cli.stages.train import StopRequest, train

    if data is not None:
        resolved = with_source(resolved, data)
    for run, seed in zip(runs, numbers, strict=True):
        check_startable(resolved, seed, run, resume=resume, overwrite=overwrite)
    results, failures = [], []
    stop = StopRequest()
    with stopping(stop):
        for run, seed in zip(runs, numbers, strict=True):
            try:
                results.append(
                    train(
                        resolved,
                        seed,
                        run,
                        resume=resume,
                        overwrite=overwrite,
                        argv=sys.argv,
                        reporter=out,
                        stop=stop,
                    )
                )
            except NumericalError as error:
                if len(runs) == 1:
                    raise
                failures.append((seed, error))
                out.warn(f"seed {seed}: {error.message}")
    from identmetric_cli.report.tables import number

    documents = [vars(result) for result in results]
    rows = [
        [each["run"], str(each["seed"]), str(each["epochs"])]
        + [number(each[key], 4) for key in ("test_elbo", "test_mse", "test_kl", "seconds")]
        for each in documents
    ]
    columns = ["run", "seed", "epochs", "test ELBO", "test MSE", "KL (nats)", "seconds"]
    following = [f"identmetric compare {runs[0].path.parent}"] if len(results) > 1 else []
    following += [f"identmetric geodesic test:0 test:1 --run {run.path}" for run in runs[:1]]
    if results:
        out.result(documents, lambda console: console.print(table(columns, rows)), following=following)
    if failures:
        which = ", ".join(str(seed) for seed, _ in failures)
        error = PartialError if results else NumericalError
        raise error(f"{len(failures)} of {len(runs)} runs diverged (seeds {which})", failures[0][1].hint)


def _plan(
    config: str | None, seeds: str | None, runs_dir: Path | None, name: str | None
) -> "tuple[list[Run], list[int]]":
    """The runs that are meant, and their seeds."""
    from identmetric_cli.runs import Run, check_name

    path = Path(config or "mnist")
    folder, base = Path("runs"), path.stem
    if path.name == "config.toml" and (path.parent / "run.json").exists():
        own = Run(path.parent if path.parent.name else path.parent.absolute())
        folder, base = own.path.parent, re.sub(r"-s\d+$", "", own.name)
        if seeds is runs_dir is name is None:
            return [own], [_seed_of(own)]
    base, numbers = check_name(name or base), parse_seeds("0" if seeds is None else seeds)
    return [Run((runs_dir or folder) / check_name(f"{base}-s{seed}")) for seed in numbers], numbers


def _seed_of(run: "Run") -> int:
    try:
        return run.info()["seed"]
    except DamagedError as error:
        known = re.search(r"-s(\d+)$", run.name)
        if known is None:
            raise DamagedError(
                error.message, f"rename {run.name} to NAME-sSEED, so that its seed is known"
            ) from error
        return int(known[1])


def parse_seeds(text: str) -> list[int]:
    """Seeds named as 0-4, 0,3,7 or a mixture; raises UsageError."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last >= 2**32 or last - first >= 1000:
            raise UsageError(f"--seeds {text}: {part!r} is not a seed below 2^32 or a range", "e.g. --seeds 0-4")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


@contextlib.contextmanager
def stopping(stop: "StopRequest") -> Iterator[None]:
    """Let INT, TERM and USR1 ask for an end at the next step; a second signal ends the process at once."""

    def handle(number: int, frame: object) -> None:
        if stop.signal_number:
            os._exit(128 + number)
        stop.signal_number = number

    earlier = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

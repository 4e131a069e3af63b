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
from identmetric_cli.cli.options import Overrides, RunsDir
from identmetric_cli.errors import NumericalError, PartialError, UsageError

if TYPE_CHECKING:
    from identmetric_cli.stages.train import StopRequest

NAME = "train"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def command(
    out: Output,
    config: Annotated[str | None, typer.Argument(help="Preset or TOML file. (default: mnist)")] = None,
    overrides: Overrides = None,
    seeds: Annotated[str, typer.Option(help="Seeds, one run each: 0-4 or 0,3,7.")] = "0",
    runs_dir: RunsDir = Path("runs"),
    name: Annotated[str | None, typer.Option(help="First part of the run's name. (default: the preset)")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with runs that were interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start existing runs afresh.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
) -> None:
    """Train VAEs with an ensemble of decoders, one run a seed.

    Example: identmetric train mnist --seeds 0-4

    Example: identmetric train mnist --set model.latent_dim=2 --name flat
    """
    from identmetric_cli.config import load
    from identmetric_cli.runs import Run, check_name

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    resolved = load(config, overrides or ())
    numbers = parse_seeds(seeds)
    base = check_name(name or _default_name(config))
    runs = [Run(runs_dir / check_name(f"{base}-s{seed}")) for seed in numbers]
    if dry_run:
        plan = [{"run": str(run.path), "seed": seed} for run, seed in zip(runs, numbers, strict=True)]
        rows = [[each["run"], str(each["seed"])] for each in plan]
        out.result(plan, lambda console: console.print(table(["run", "seed"], rows)), following=[])
        return
    from identmetric_cli.stages.train import StopRequest, train

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
    documents = [vars(result) for result in results]
    rows = [
        [each["run"], str(each["seed"]), str(each["epochs"])]
        + [f"{each[key]:.4g}" for key in ("test_elbo", "test_mse", "test_kl", "seconds")]
        for each in documents
    ]
    columns = ["run", "seed", "epochs", "test ELBO", "test MSE", "KL (nats)", "seconds"]
    following = [f"identmetric compare {runs_dir}"] if len(results) > 1 else []
    following += [f"identmetric geodesic test:0 test:1 --run {run.path}" for run in runs[:1]]
    if results:
        out.result(documents, lambda console: console.print(table(columns, rows)), following=following)
    if failures:
        which = ", ".join(str(seed) for seed, _ in failures)
        error = PartialError if results else NumericalError
        raise error(f"{len(failures)} of {len(runs)} runs diverged (seeds {which})", failures[0][1].hint)


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


def _default_name(config: str | None) -> str:
    path = Path(config or "mnist")
    # A run's own configuration names that run: `runs/mnist-s0/config.toml` goes on with `mnist`.
    return re.sub(r"-s\d+$", "", path.parent.name) if path.name == "config.toml" and path.parent.name else path.stem

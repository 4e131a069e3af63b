"""A run directory: what one training with one seed leaves on disk, readable with a pager.

    runs/<name>/  config.toml    resolved configuration
                  run.json       status, seed, versions, device, data fingerprint, test scores; sealed
                  metrics.jsonl  one record per epoch, a copy of what the newest checkpoint holds
                  checkpoints/   sealed steps with the last and the best model
                  figures/       reconstructions, prior samples, loss curves
                  geodesics/     solved pairs, one table per question, reused by `compare`

One process writes to a run at a time and holds its lock while it does; readers take no lock and change nothing
but `geodesics/`, whose files are replaced whole.
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from identmetric_cli.config import Config, load_resolved, to_toml
from identmetric_cli.errors import DamagedError, InputError, LockedError, StorageError, UsageError
from identmetric_cli.files import read_sealed_json, write_sealed_json, write_text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FINISHED = "finished"
OWN = ("config.toml", "metrics.jsonl", "checkpoints", "figures", "geodesics", "run.json")
"""What a run directory holds of ours; run.json last, for by it a run is known."""
MARKS = (b'"status"', b'"seed"', b'"orbax-checkpoint"')
"""What every run.json holds, damaged or not, and hardly a file of another program."""


@dataclass(frozen=True)
class Run:
    """A run directory on disk."""

    path: Path
    data_source: str | None = None
    """Where the user says that the data are now; None means where the configuration says."""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def geodesics(self) -> Path:
        return self.path / "geodesics"

    def config(self) -> Config:
        """The resolved configuration; raises StorageError where the stored one is none."""
        try:
            return load_resolved(self.path / "config.toml")
        except UsageError as error:
            raise StorageError(error.message, f"restore {self.path / 'config.toml'}, or leave the run out") from error

    def info(self) -> dict[str, Any]:
        """The record in run.json; empty before the first one was written. Raises StorageError, DamagedError."""
        path = self.path / "run.json"
        try:
            return read_sealed_json(path, unsealed=True) if path.exists() else {}
        except DamagedError as error:
            raise DamagedError(error.message, f"{self.command} makes it anew from the checkpoint") from error

    def update(self, **fields: Any) -> None:
        """Merge `fields` into run.json."""
        write_sealed_json(self.path / "run.json", {**self.info(), **fields})

    @property
    def command(self) -> str:
        """The command that goes on with this run, whatever its name and folder."""
        return f"identmetric train {shlex.quote(str(self.path / 'config.toml'))} --resume"

    @property
    def ours(self) -> bool:
        """Whether the directory is that of a run, even a damaged one."""
        path = self.path / "run.json"
        return path.is_file() and all(mark in path.read_bytes() for mark in MARKS)

    def clear(self) -> None:
        """Delete what a run leaves behind and nothing else; the lock file stays."""
        refuse_links(self.path)
        for name in OWN:
            path = self.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def write_config(self, config: Config) -> None:
        """Store the resolved configuration."""
        write_text(self.path / "config.toml", to_toml(config))

    def metrics(self) -> list[dict[str, Any]]:
        """Records of metrics.jsonl; a line that an interruption cut short is left out. For people and plots."""
        path = self.path / "metrics.jsonl"
        records = []
        for line in path.read_text().splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError):
                records.append(json.loads(line))
        return records

    def write_metrics(self, records: list[dict[str, Any]]) -> None:
        """Replace metrics.jsonl."""
        write_text(self.path / "metrics.jsonl", "".join(_line(record) for record in records))

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append one record to metrics.jsonl and flush it."""
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(_line(record))

    @property
    def finished(self) -> bool:
        return self.info().get("status") == FINISHED

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run's writer lock; raises LockedError naming the holder."""
        self.path.mkdir(parents=True, exist_ok=True)
        refuse_links(self.path)
        path = self.path / ".lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{path}: cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise LockedError(
                f"{self.path} is being written by {holder}", "wait for it, or choose another --name"
            ) from error
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield
        finally:
            os.close(descriptor)


def check_name(name: str) -> str:
    """Return `name` if it can name a run; raises UsageError."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a run", "use up to 64 letters, digits, dots, dashes and underscores")
    return name


def refuse_links(path: Path) -> None:
    """Raise StorageError when a run directory or anything in it is a symbolic link."""
    for each in (path, *path.rglob("*")):
        if each.is_symlink():
            raise StorageError(f"{each} is a symbolic link; a run directory must hold none", "remove the link")


def list_runs(folder: Path, data_source: str | None = None) -> list[Run]:
    """Every run under a folder, by name."""
    found = (Run(path, data_source) for path in folder.glob("*") if (path / "run.json").is_file())
    return sorted(found, key=lambda run: _natural(run.name))


def finished_runs(folder: Path, data_source: str | None = None) -> list[Run]:
    """Finished runs under a folder, by name; raises InputError when there is none."""
    runs = list_runs(folder, data_source)
    finished = [run for run in runs if run.finished]
    if not finished:
        found = f"holds {len(runs)} runs, none of them finished" if runs else "holds no runs"
        remedy = runs[0].command if runs else f"identmetric train --runs-dir {shlex.quote(str(folder))}"
        raise InputError(f"{folder} {found}", remedy)
    return finished


def find_run(which: str | None, folder: Path, data_source: str | None = None) -> Run:
    """The run that `which` names (a directory, or a name under `folder`); by default the newest finished one."""
    if which is None:
        return max(finished_runs(folder, data_source), key=lambda run: run.info().get("finished_at", ""))
    for path in (Path(which), folder / which):
        if (path / "run.json").is_file():
            run = Run(path, data_source)
            if not run.finished:
                status = run.info().get("status", "unfinished")
                raise InputError(f"{path} has no finished training (status: {status})", run.command)
            return run
    known = ", ".join(run.name for run in list_runs(folder)) or "none"
    raise InputError(f"{which} is not a run", f"runs under {folder}: {known}")


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]

"""The one sink: results on stdout, everything else on stderr; what users see of an error; and the common options.

User text (file and run names) reaches the terminal as plain text, never as markup or control codes.
"""

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from identmetric_cli.errors import IdentmetricError, OutOfMemoryError
from identmetric_cli.stages.reporter import Advance, Reporter

PLAIN_INTERVAL = 10.0
PIPE_WIDTH = 160


class Output(Reporter):
    """Where a command writes: tables and documents to stdout, notes and progress to stderr."""

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        no_color: bool = False,
        debug: bool = False,
    ):
        self.json, self.quiet, self.verbose, self.debug = json, quiet, verbose, debug
        self.stdout = Console(no_color=no_color or None, highlight=False, soft_wrap=True)
        if not self.stdout.is_terminal:
            self.stdout.width = PIPE_WIDTH
        self.stderr = Console(stderr=True, no_color=no_color or None, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        if not self.quiet:
            self.stderr.print(Text(printable(text)))

    def detail(self, text: str) -> None:
        """A note under --verbose alone."""
        if self.verbose:
            self.note(text)

    def warn(self, text: str) -> None:
        if self.quiet:
            return
        self.stderr.print(Text("warning: ", style="yellow") + Text(printable(text)))

    @contextlib.contextmanager
    def task(self, description: str) -> Iterator[Advance]:
        if self.quiet or self.json:
            yield lambda done, total, detail="": None
        elif self.stderr.is_terminal:
            with self._bar(description) as advance:
                yield advance
        else:
            yield self._plain(description)

    def document(self, value: dict[str, Any] | list[Any]) -> None:
        """The one JSON document of a command under --json."""
        print(json.dumps(value, indent=2, allow_nan=False))

    def result(self, value: dict[str, Any] | list[Any], show: Callable[[Console], None], *, following: Sequence[str]):
        """A command's result: the document under --json, else what `show` prints and the next useful commands."""
        if self.json:
            self.document(value)
            return
        show(self.stdout)
        if following and not self.quiet:
            self.stderr.print(Text("\nnext:", style="bold"))
            for command in following:
                self.stderr.print(Text(f"  {printable(command)}"))

    @contextlib.contextmanager
    def _bar(self, description: str) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
        )
        with Progress(*columns, console=self.stderr, transient=False) as progress:
            task = progress.add_task(printable(description), total=None, detail="")
            yield lambda done, total, detail="": progress.update(task, completed=done, total=total, detail=detail)

    def _plain(self, description: str) -> Advance:
        last = time.monotonic()

        def advance(done: int, total: int, detail: str = "") -> None:
            nonlocal last
            if time.monotonic() - last >= PLAIN_INTERVAL or done == total:
                last = time.monotonic()
                self.note(f"{description}: {done} of {total}{f', {detail}' if detail else ''}")

        return advance

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn an error into a message, a remedy and an exit code; tracebacks are for --debug alone."""
        try:
            yield
        except IdentmetricError as error:
            self._fail(error.message, error.hint, error.exit_code)
        except KeyboardInterrupt:
            self._fail("interrupted", "run the same command again; finished parts are kept", 128 + signal.SIGINT)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except OSError as error:
            self._fail(f"{error.filename or 'a file'}: {error.strerror or error}", None, 74)
        except Exception as error:
            if _out_of_memory(error):
                self._fail(
                    f"out of memory: {' '.join(str(error).split())[-200:] or type(error).__name__}",
                    "hold less at a time: --batch-size or --nodes of geodesics, train.batch_size, data.limit",
                    OutOfMemoryError.exit_code,
                )
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._fail(
                f"internal fault: {type(error).__name__}: {error} ({where.name}, line {where.lineno})",
                "this is a bug in identmetric; run again with --debug and report what it prints",
                1,
            )

    def _fail(self, message: str, hint: str | None, code: int) -> None:
        if self.debug:
            traceback.print_exc()
        if self.json:
            fault = {"error": {"message": message, "hint": hint, "exit_code": code}}
            print(json.dumps(fault), file=sys.stderr)
        else:
            for line in message.splitlines():
                self.stderr.print(Text("error: ", style="bold red") + Text(printable(line)))
            if hint:
                self.stderr.print(Text("hint:  ", style="cyan") + Text(printable(hint)))
        raise typer.Exit(code) from None


def _out_of_memory(error: Exception) -> bool:
    """Whether Python, NumPy or XLA could not get memory; XLA says so in words alone, not always in the same."""
    words = ("RESOURCE_EXHAUSTED", "Out of memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def printable(text: str) -> str:
    """Text with control, direction and other unprintable characters replaced by a question mark."""
    return "".join(c if c.isprintable() else "?" for c in text)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> Table:
    """A plain table; the first column is text, the others are numbers."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        drawn.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn

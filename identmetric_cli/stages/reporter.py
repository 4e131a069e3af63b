"""How a stage tells what it is doing, without knowing of terminals."""

import contextlib
from collections.abc import Callable, Iterator

Advance = Callable[[int, int, str], None]
"""(done, total, detail): where a task stands."""


class Reporter:
    """Receives notes, warnings and the progress of tasks; this one is silent."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def warn(self, text: str) -> None:
        """Something that limits what the result means."""

    @contextlib.contextmanager
    def task(self, description: str) -> Iterator[Advance]:
        """A piece of work whose progress is told through the yielded function."""
        yield lambda done, total, detail="": None


SILENT = Reporter()

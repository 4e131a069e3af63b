"""Errors a user can cause or meet: what was wrong, what was got, what to do.

Every error carries a message, an optional hint (the remedy) and the exit code of the command that meets it.
Anything that is not an `IdentmetricError` is a fault of ours and exits with 1.
"""


class IdentmetricError(Exception):
    """A failure with a message for users, a remedy and an exit code."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(IdentmetricError):
    """An option, name or configuration that cannot be used (exit code 2)."""

    exit_code = 2


class PartialError(IdentmetricError):
    """Some units of work failed; the others are on disk and a rerun takes up the rest (exit code 3)."""

    exit_code = 3


class CheckFailed(IdentmetricError):
    """A check that the user asked for with --strict did not hold (exit code 4)."""

    exit_code = 4


class InputError(IdentmetricError):
    """Input data that was refused: unreadable, damaged or of the wrong shape (exit code 65)."""

    exit_code = 65


class NumericalError(IdentmetricError):
    """A computation left the finite numbers (exit code 70)."""

    exit_code = 70


class StorageError(IdentmetricError):
    """A file could not be read or written (exit code 74)."""

    exit_code = 74


class DamagedError(StorageError):
    """A file that we wrote does not hold what we wrote (exit code 74)."""


class CheckpointError(StorageError):
    """A checkpoint is missing, damaged or does not fit the model (exit code 74)."""


class OutOfMemoryError(IdentmetricError):
    """The work does not fit into memory (exit code 71)."""

    exit_code = 71


class LockedError(IdentmetricError):
    """Another process is writing to the run directory (exit code 75)."""

    exit_code = 75


class Interrupted(IdentmetricError):
    """A signal stopped the work after a valid checkpoint (exit code 128 + signal number)."""

    def __init__(self, message: str, hint: str | None = None, *, signal_number: int):
        super().__init__(message, hint)
        self.exit_code = 128 + signal_number

"""The errors that a user of svcsim can meet.

Every one of them is a sentence for a person: what is wrong, where, and what would be right. The command line prints them
without a traceback.
"""

from __future__ import annotations

from dataclasses import dataclass


class SvcsimError(Exception):
    """Base of all errors that svcsim raises on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        # IPython's hook: a notebook shows the sentence, as the command line does.
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in an input file, or in an option (`--set …`): where it stands, what is wrong and what would be right."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.file.startswith("--") else f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class InputError(SvcsimError):
    """One or more mistakes in input files, all reported together, a line each."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class UsageError(SvcsimError):
    """A request that svcsim understands but that cannot be met as given (an unknown name, a folder in the way)."""


class NoSampleError(UsageError):
    """A figure that a run gives no sample of: no request was sent, or every one failed."""


class SimulationError(SvcsimError):
    """The simulation broke one of its own laws: a fault of svcsim, not of its input."""

    exit_code = 3

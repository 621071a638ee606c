"""What is wrong with data: raised at once (``ialp prepare``) or gathered (:func:`.validate.validate`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ialp_rllib.errors import InputError


@dataclass(frozen=True)
class Problem:
    """One kind of problem at one place.

    Attributes:
        where: file, row (1-based, the header does not count) and field of the first occurrence, as far as known.
        problem: what is wrong there.
        expected: what would have been right.
        count: number of occurrences.
        severity: ``error`` (``ialp prepare`` refuses the data) or ``warning``.
    """

    where: str
    problem: str
    expected: str = ""
    count: int = 1
    severity: str = "error"

    def error(self) -> InputError:
        more = f" ({self.count} such rows)" if self.count > 1 else ""
        return InputError(self.where, f"{self.problem}{more}", self.expected)


@dataclass
class Findings:
    """Takes problems: raises the first error, or with ``gather`` keeps them all and lets the reader go on.

    Attributes:
        gather: whether to keep; warnings are looked for only then.
    """

    gather: bool = False
    found: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Take a problem.

        Raises:
            InputError: it is an error, and this does not gather.
        """
        if self.gather:
            self.found.append(problem)
        elif problem.severity == "error":
            raise problem.error()

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.found)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """When gathering, an :class:`InputError` ends only this block."""
        try:
            yield
        except InputError as error:
            if not self.gather:
                raise
            self.add(Problem(error.where, error.problem, error.expected))


def clip(text: str, most: int = 200) -> str:
    """Something out of a file, short enough for a message and in one line."""
    line = text[: most + 1].replace("\r", "\\r").replace("\n", "\\n")
    return line if len(text) <= most else f"{line[:most]}..."


def place(path: Path | str, row: int | None = None, column: str = "") -> str:
    """``FILE, row R, field 'C'``."""
    text = str(path)
    if row is not None:
        text += f", row {row}"
    return f"{text}, field {column!r}" if column else text

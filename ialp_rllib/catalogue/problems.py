"""Problems in the data: raised at once (``ialp prepare``) or collected (:func:`.sources.validate.validate`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ialp_rllib.errors import InputError


@dataclass(frozen=True)
class Problem:
    """All occurrences of one kind of problem in one column of a file.

    Attributes:
        where: file, row (1-based, the header does not count) and field of the first occurrence, as far as known.
        problem: what is wrong.
        expected: what would be correct.
        count: number of occurrences.
        severity: ``error`` (``ialp prepare`` rejects the data) or ``warning``.
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
    """Receives the problems that the checks report: raises the first error, or collects all problems.

    Attributes:
        collect: whether to collect problems instead of raising; warnings are only checked for in this case.
        problems: the problems collected so far.
    """

    collect: bool = False
    problems: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Report a problem.

        Raises:
            InputError: the problem is an error, and ``collect`` is false.
        """
        if self.collect:
            self.problems.append(problem)
        elif problem.severity == "error":
            raise problem.error()

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    @contextmanager
    def collect_errors(self) -> Iterator[None]:
        """While collecting, an :class:`InputError` ends only this block and is added to the problems."""
        try:
            yield
        except InputError as error:
            if not self.collect:
                raise
            self.add(Problem(error.where, error.problem, error.expected))


def clip(text: str, max_chars: int = 200) -> str:
    """Text from a file, shortened to ``max_chars`` characters and one line, for messages."""
    line = text[: max_chars + 1].replace("\r", "\\r").replace("\n", "\\n")
    return line if len(text) <= max_chars else f"{line[:max_chars]}..."


def location(path: Path | str, row: int | None = None, column: str = "") -> str:
    """The location of a problem, as messages show it: ``FILE, row R, field 'C'``."""
    text = str(path)
    if row is not None:
        text += f", row {row}"
    return f"{text}, field {column!r}" if column else text

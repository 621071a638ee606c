"""Errors that nobody expected: a sentence on the terminal, the traceback in a file, exit code 70."""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

from ialp_rllib.errors import IalpError, InputError, storage_errors

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_folder: Path | None = None
_shown = False
# Qualified name of a class -> sentence and advice. By name, since none of these libraries may be imported here.
_MEMORY = "smaller batches (agent.batch, judge.batch), fewer methods and seeds at a time, or a larger machine"
_KNOWN = {
    "builtins.MemoryError": ("memory", "is used up", _MEMORY),
    "torch.OutOfMemoryError": ("GPU memory", "is used up", f"{_MEMORY}; or a GPU that nobody else uses"),
    "duckdb.OutOfMemoryException": ("memory", "DuckDB's limit is reached", "a larger catalogue.memory_mb"),
    "sqlite3.Error": ("judge.cache", "the answer cache is locked or damaged", "another folder, or none"),
    "safetensors.SafetensorError": ("weights", "a file of weights is damaged", "`ialp check RUN` names it"),
    "pyarrow.lib.ArrowInvalid": ("tables", "a Parquet file is damaged", "`ialp check RUN` names it"),
}


def remember(folder: Path | None = None, *, shown: bool = False) -> None:
    """What to do with the traceback of an unexpected error of this command.

    Args:
        folder: the run's folder; the file is written to its ``logs``. None, or where it does not exist: the system's
            folder of temporary files.
        shown: whether to print the traceback as well (``--verbose``, ``--local-mode``).
    """
    global _folder, _shown
    _folder, _shown = folder, shown


def explain(error: BaseException) -> IalpError | None:
    """A library's error in a sentence, for those that are no fault of this program; None for others.

    Args:
        error: what was raised; of an error in a Ray task, its ``cause`` counts.
    """
    cause = getattr(error, "cause", None)
    cause = cause if isinstance(cause, BaseException) else error
    if isinstance(cause, OSError):
        try:
            with storage_errors(Path(str(cause.filename or "disk"))):
                raise cause
        except InputError as explained:
            return explained
        except OSError:
            return None
    for kind in type(cause).__mro__:
        known = _KNOWN.get(f"{kind.__module__}.{kind.__qualname__}")
        if known:
            where, problem, expected = known
            return InputError(where, f"{problem} ({_first_line(cause)})", expected)
    return None


def report(error: BaseException) -> str:
    """Write the traceback to a file, and print it if that was asked for.

    Returns:
        The message for the terminal.
    """
    cause = getattr(error, "cause", None)
    what = cause if isinstance(cause, BaseException) else error
    while not str(what) and what.__cause__ is not None:  # a wrapper that says nothing
        what = what.__cause__
    text = "".join(["command: ", " ".join(sys.argv), "\n\n", *traceback.format_exception(error)])
    sentence = f"this program failed: {type(what).__name__}: {_first_line(what)}"
    try:
        path = _write(text)
    except OSError as failure:
        sys.stderr.write(text)
        return f"{sentence}\n  The traceback above could not be written to a file ({failure.strerror})."
    if _shown:
        sys.stderr.write(text)
    return (
        f"{sentence}\n  traceback: {path}\n  Finished stages are kept: the same command resumes. "
        "If it fails again, please report it with that file."
    )


def _write(text: str) -> Path:
    folder = None
    if _folder is not None and _folder.is_dir():
        folder = _folder / "logs"
        folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", errors="backslashreplace", dir=folder, prefix="ialp-error-", suffix=".log", delete=False
    ) as file:
        file.write(text)
    return Path(file.name)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"

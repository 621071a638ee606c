"""Shared parts of the commands: consoles, common options, and access to a run."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

if TYPE_CHECKING:
    from ialp_rllib.settings import Settings
    from ialp_rllib.settings.scenario import Override
    from ialp_rllib.stages.run import RunFolder

LITERAL: dict[str, Any] = {"markup": False, "emoji": False}
"""Options of every console: text is printed as it is. What has a style is a ``Text``, never ``[red]`` in a text, since
paths, ids and titles may hold brackets and colons."""
messages = Console(stderr=True, **LITERAL)
"""Console for progress and messages: standard error. Results go to standard output, see :func:`results`."""

BUILT_IN = "sample, coat, industry, lastfm, games, amazon, lfm"
Scenario = Annotated[str, typer.Argument(help=f"Name of a built-in scenario ({BUILT_IN}), or path of a YAML file.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the scenario's data (catalogue.data).")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run. Default: runs/SCENARIO.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. agent.gamma=0.95.")
]
Local = Annotated[bool, typer.Option("--local-mode", help="Run everything in one process, for debugging.")]
Plugins = Annotated[
    bool, typer.Option("--allow-plugins", help="Import the modules that the scenario file names (adapt.plugins).")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the log messages of the stages.")]


def results(width: int = 140) -> Console:
    """Console for results: standard output.

    Args:
        width: columns if standard output is not a terminal, so that the cells of tables are not wrapped.
    """
    console = Console(**LITERAL)
    return console if console.is_terminal else Console(width=width, **LITERAL)


def read_settings(
    scenario: str,
    data: Path | None,
    overrides: list[str] | None,
    local: bool = False,
    allow_plugins: bool | None = None,
) -> Settings:
    """The settings that the options of a command describe.

    Args:
        scenario: name of a built-in scenario, or path of a YAML file.
        data: folder of its data; None: the scenario's.
        overrides: ``key=value``.
        local: whether to run everything in one process.
        allow_plugins: as of :func:`ialp_rllib.settings.load`.

    Raises:
        InputError: an unknown scenario or setting, an invalid value, or a plugin that was not allowed.
    """
    from ialp_rllib.settings import load

    settings_overrides: list[Override] = list(overrides or [])
    if data is not None:  # a pair: no YAML is read from the path
        settings_overrides.append(("catalogue.data", str(data.expanduser().resolve())))
    if local:
        settings_overrides.append(("runtime.local_mode", True))
    return load(scenario, settings_overrides, allow_plugins=allow_plugins)


def open_run(
    scenario: str,
    data: Path | None,
    out: Path | None,
    overrides: list[str] | None,
    local: bool,
    allow_plugins: bool = False,
) -> RunFolder:
    """The run that the options of a command describe.

    Args:
        scenario: name of a built-in scenario, or path of a YAML file.
        data: folder of its data; None: the scenario's.
        out: folder of the run; None: ``runs/SCENARIO``.
        overrides: ``key=value``.
        local: whether to run everything in one process.
        allow_plugins: whether to import the modules that the scenario file names.

    Raises:
        InputError: an unknown scenario or setting, an invalid value, or a plugin that was not allowed.
    """
    from ialp_rllib.stages.run import RunFolder

    settings = read_settings(scenario, data, overrides, local, allow_plugins)
    return RunFolder(settings, (out or Path("runs") / (settings.scenario or Path(scenario).stem)).resolve())


def print_path(label: str, path: Path) -> None:
    """Tell on standard error where a result lies; the path is on one line, whatever characters it has."""
    messages.print(Text.assemble(f"\n{label}: ", (str(path), "bold")), soft_wrap=True)


def configure_logging(verbose: bool) -> None:
    """Log to standard error: warnings of this package, or everything from level INFO on if ``verbose``.

    Unless ``verbose``, warnings of libraries (mostly deprecations) are hidden, in Ray's workers, too.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=messages, show_path=False, show_level=False)],
    )
    if not verbose:
        warnings.filterwarnings("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # inherited by Ray's workers
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

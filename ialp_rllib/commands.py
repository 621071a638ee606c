"""Commands of the command line, as messages print them: they work when they are pasted into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

SETTINGS = "settings.yaml"  # the resolved settings in a run's folder


def command(
    verb: str,
    scenario: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Iterable[str] = (),
    local_mode: bool = False,
    allow_plugins: bool = False,
) -> str:
    """``ialp VERB SCENARIO`` with the options of the call that prints it, quoted for a shell.

    Args:
        verb: verb or verbs: ``run``, ``data validate``.
        scenario: name of a scenario, or path of a YAML file.
        data: ``--data``; None: not given.
        out: ``--out``; None: not given.
        overrides: the ``key=value`` of each ``--set``.
        local_mode: whether ``--local-mode`` was given.
        allow_plugins: whether ``--allow-plugins`` is needed: the settings name modules to import.
    """
    words = ["ialp", *verb.split(), _argument(scenario)]
    for option, value in (("--data", data), ("--out", out)):
        if value is not None:
            words += [option, _argument(value)]
    for override in overrides:
        words += ["--set", override]
    flags = {"--local-mode": local_mode, "--allow-plugins": allow_plugins}
    return shlex.join([*words, *(flag for flag, given in flags.items() if given)])


def resume_command(verb: str, run: Path, allow_plugins: bool = False) -> str:
    """``ialp VERB`` with all settings of the run in a folder, however they were given."""
    return command(verb, run / SETTINGS, out=run, allow_plugins=allow_plugins)


def quoted(verb: str, *values: str | Path) -> str:
    """``ialp VERB VALUE...``, quoted for a shell."""
    return shlex.join(["ialp", *verb.split(), *map(_argument, values)])


def _argument(value: str | Path) -> str:
    """A scenario or path that is not taken for an option."""
    text = str(value)
    return f"./{text}" if text.startswith("-") else text

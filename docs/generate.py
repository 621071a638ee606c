"""Write the pages of docs/reference that are made from the code: settings, command line, metrics, file formats.

    python docs/generate.py

`make docs` runs it before it builds; the pages are committed, and tests/docs/test_reference.py fails where they are not
what this script would write.
"""

from __future__ import annotations

import html
import re
import runpy
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer
import typer.main

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.cli.main import app
from ialp_rllib.judge.distillation.preferences import PREFERENCES
from ialp_rllib.report.kit import glossary
from ialp_rllib.results import augmented, schemas, sessions
from ialp_rllib.settings.describe import BASIC, SettingInfo, as_text, describe
from ialp_rllib.settings.scenario import Settings
from ialp_rllib.settings.serving import ServingSettings
from ialp_rllib.settings.tiny import TinySettings
from ialp_rllib.stages.lea.specs import LEA_STAGES
from ialp_rllib.stages.run import STAGES
from ialp_rllib.stages.titles import LEA_TITLES, TITLES

REFERENCE = Path(__file__).parent / "reference"
WORDS = runpy.run_path(str(Path(__file__).parent / "words.py"))
"""What the pages say that no object of the package knows: meanings of columns and files, introductions."""


def pages() -> dict[str, str]:
    """File name in docs/reference -> text."""
    return {
        "settings.md": _page("Settings", WORDS["SETTINGS"], settings()),
        "cli.md": _page("Command line", WORDS["CLI"], commands()),
        "metrics.md": _page("Metrics and glossary", WORDS["METRICS"], metrics()),
        "formats.md": _page("File formats", WORDS["FORMATS"], formats()),
    }


def _page(title: str, intro: str, parts: Iterable[str]) -> str:
    note = "<!-- Made by docs/generate.py from the code: do not edit. -->"
    return "\n\n".join([note, f"# {title}", intro.strip(), *(part.strip() for part in parts)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def text(words: Any) -> str:
    """Plain text in a cell: in one line, with what Markdown would read as marks escaped outside of code."""
    parts = re.split(r"(`+[^`]+`+)", " ".join(str(words).split()))
    shown = (re.sub(r"([|*_\[\]])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2])
    code = [part.replace("|", "\\|") for part in parts[1::2]]
    return "".join(a + b for a, b in zip(shown, [*code, ""], strict=True))


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f'<details markdown="1">\n<summary>{title}</summary>\n\n{content}\n\n</details>'


# ---- settings


def settings() -> Iterator[str]:
    """A section per group, the basic settings first."""
    groups: dict[str, list[SettingInfo]] = {}
    for info in describe(Settings):
        groups.setdefault(info.name.partition(".")[0] if "." in info.name else "", []).append(info)
    for name, infos in groups.items():
        yield f"## {f'`{name}`' if name else 'Top level'}"
        subgroups = {info.group: info.group_doc for info in infos if name}
        yield text(subgroups.get(name, "")) or WORDS["TOP"]
        basic = [info for info in infos if info.level == BASIC]
        advanced = [info for info in infos if info.level != BASIC]
        if basic:
            yield _settings_table(basic)
        if advanced:
            yield folded(f"Advanced settings of <code>{name}</code> ({len(advanced)})", _settings_table(advanced))
        more = [(f"`{group}`", text(meaning)) for group, meaning in subgroups.items() if group != name]
        if more:
            yield folded(f"Groups within <code>{name}</code>", table(("group", "what it is"), more))
    yield "## The tiny judge"
    yield WORDS["TINY"]
    yield _settings_table(describe(TinySettings))
    yield "## A service"
    yield WORDS["SERVICE"]
    infos = describe(ServingSettings)
    yield _settings_table([info for info in infos if info.level == BASIC])
    yield folded("Advanced settings of a service", _settings_table([i for i in infos if i.level != BASIC]))


def _settings_table(infos: Iterable[SettingInfo]) -> str:
    rows = [(f"`{info.name}`", f"`{as_text(info.default)}`", _values(info), text(info.doc)) for info in infos]
    return table(("setting", "default", "values", "meaning"), rows)


def _values(info: SettingInfo) -> str:
    if info.choices:
        return ", ".join(f"`{choice}`" for choice in info.choices)
    return text(info.type if info.type in ("bool", "str") else f"{info.type} {info.range}".strip())


# ---- command line


def commands() -> Iterator[str]:
    """A section per verb; the stages, which take what `ialp run` takes, in one."""
    root = typer.main.get_command(app)
    run = [parameter.opts for parameter in root.commands["run"].params]
    stages = {n: c for n, c in root.commands.items() if n in TITLES and [p.opts for p in c.params] == run}
    for path, command in _verbs(root, ("ialp",)):
        if path[1] not in stages:
            yield from _verb(path, command)
        if path == ("ialp", "run"):
            yield "## One stage of a run"
            yield "These verbs take the parameters of [`ialp run`](#ialp-run)."
            yield table(("verb", "meaning"), [(f"`ialp {name}`", text(c.help)) for name, c in stages.items()])


def _verbs(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _verbs(command, (*path, name))
        else:
            yield (*path, name), command


def _verb(path: tuple[str, ...], command: Any) -> Iterator[str]:
    yield f"## `{' '.join(path)}`"
    yield text(command.help)
    shown = [parameter for parameter in command.params if not parameter.hidden and parameter.name != "help"]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    yield f"```text\n{' '.join([*path, *map(_argument, arguments), '[OPTIONS]'])}\n```"
    yield table(("parameter", "meaning"), map(_parameter, [*arguments, *(p for p in shown if p not in arguments)]))


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _parameter(parameter: Any) -> tuple[str, str]:
    meaning = text(parameter.help or "")
    if parameter.param_type_name == "argument":
        return f"`{_argument(parameter)}`", meaning
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.strip('_').upper()}"
    if parameter.required:
        meaning += " Required."
    if parameter.default not in (None, False, "", ()) and "Default" not in meaning:
        meaning += f" Default: {text(parameter.default)}."
    if parameter.multiple:
        meaning += " Can be given several times."
    return f"`{names}{value}`", meaning


# ---- metrics


def metrics() -> Iterator[str]:
    """The terms of the report, by what they are about."""
    yield "## Methods"
    yield table(
        ("method", "id", "what it is", "source"),
        [(text(m.title), f"`{name}`", text(m.about), text(m.source)) for name, m in METHODS.items()],
    )
    for title, terms in (
        ("Results", glossary.RESULTS | WORDS["RESULTS"]),
        ("References", glossary.REFERENCES | glossary.WEEKS),
        ("Statistics", glossary.STATISTICS),
        ("Learning curves", glossary.CURVES | WORDS["LOGGED"]),
        ("The judge", glossary.JUDGE | WORDS["JUDGE"]),
        ("The simulated users", {glossary.readable_name(name): meaning for name, meaning in glossary.USERS.items()}),
    ):
        yield f"## {title}"
        yield table(("term", "meaning"), [(text(term), text(meaning)) for term, meaning in terms.items()])


# ---- file formats


def formats() -> Iterator[str]:
    """The stages' folders, then the schemas of the tables."""
    yield "## A run's folder"
    yield _folders(STAGES, TITLES)
    yield WORDS["MANIFEST"].strip()
    yield "### Folders of `ialp lea`"
    yield _folders(LEA_STAGES, LEA_TITLES)
    meanings = _columns(schemas.__doc__ or "")
    lea = _columns(augmented.__doc__ or "")
    more = pa.schema([column for column in schemas.RUN_CURVES if column.name not in schemas.CURVES.names])
    for title, intro, schema, extra in (
        ("`results.parquet`", WORDS["RESULTS_TABLE"], schemas.RESULTS, {}),
        ("`curves.parquet`", WORDS["CURVES_TABLE"], schemas.CURVES, WORDS["CURVE_COLUMNS"]),
        ("Files of one training run", WORDS["RUN_TABLE"], more, {}),
        ("Example sessions", WORDS["SESSIONS_TABLE"], sessions.SESSIONS, _columns(sessions.__doc__ or "")),
        ("The preference table", WORDS["PREFERENCE_TABLE"], PREFERENCES, WORDS["PREFERENCE_COLUMNS"]),
        (
            "What an LLM environment says",
            WORDS["AUGMENTED_TABLE"],
            augmented.AUGMENTED,
            lea | WORDS["AUGMENTED_COLUMNS"],
        ),
        ("Ranks of test cases", WORDS["CASES_TABLE"], augmented.CASES, lea),
    ):
        yield f"## {title}"
        yield intro.strip()
        yield table(("column", "type", "null", "meaning"), _schema(schema, meanings | extra))
    yield WORDS["OTHER_FORMATS"].strip()


def _folders(stages: Any, titles: dict[str, str]) -> str:
    rows = [
        (f"`{name}/`", text(f"{titles[name]}."), ", ".join(spec.needs(Settings())) or "none", WORDS["STAGES"][name])
        for name, spec in stages.items()
    ]
    return table(("folder", "stage", "reads from", "leaves"), rows)


def _schema(schema: pa.Schema, meanings: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    for column in schema:
        kind = re.sub(r"<\w+: (\w+)>", r" of \1", str(column.type))  # list<element: int32>
        yield f"`{column.name}`", kind.replace("[", " of ").rstrip("]"), _yes(column.nullable), meanings[column.name]


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _columns(docstring: str) -> dict[str, str]:
    """Column -> meaning, from the tables in a docstring: ``name``, ``name``  type  meaning."""
    found = {}
    for names, meaning in re.findall(r"^((?:``\w+``(?:, )?)+)\s+\S+\s+(.+)$", docstring, re.MULTILINE):
        plain = text(re.sub(r":\w+:`~?[\w.]*?(\w+)`", r"`\1`", meaning))
        for name in re.findall(r"\w+", names):
            found[name] = plain
    return found


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name, content in pages().items():
        (REFERENCE / name).write_text(content, "utf-8")


if __name__ == "__main__":
    main()

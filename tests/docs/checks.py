"""Whether a command or a setting in the documentation is one that exists. Nothing is executed.

Each check returns what is wrong, in words; an empty list says that nothing is.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import typing
from pathlib import Path
from typing import Any

import click
import typer.main
import yaml

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.cli.main import app
from ialp_rllib.errors import InputError
from ialp_rllib.settings import SCENARIOS, Settings, from_dict, load
from ialp_rllib.settings.serving import serving_settings
from ialp_rllib.sweep.plan import plan_sweep
from ialp_rllib.sweep.space import corners, parse_space
from tests.conftest import REPOSITORY

OTHER_PROGRAMS = {
    "cd", "docker", "export", "git", "kubectl", "mkdir", "pip", "ray", "rm", "source", "tensorboard", "uv",
}  # fmt: skip
KNOWN_SCENARIOS = {path.stem for path in SCENARIOS.glob("*.yaml")}
VERBS = typer.main.get_command(app)
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))


# ---- commands


def check_shell(text: str) -> list[str]:
    """A block of shell commands."""
    problems: list[str] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        try:
            words = list(_words(line))
        except ValueError as error:
            problems.append(f"{line}: {error}")
            continue
        for command in _commands(words):
            problems += [f"{line.strip()}: {problem}" for problem in check_command(command)]
    return problems


def _words(line: str) -> typing.Iterator[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    return iter(lexer)


def _commands(words: list[str]) -> typing.Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if word in ("&&", "||", "|", ";", "&", ">", ">>", "<"):
            if command:
                yield command
            command = []
        else:
            command.append(word)


def check_command(words: list[str]) -> list[str]:
    """One command, as the shell would take it."""
    while words and re.match(r"\w+=", words[0]):
        words = words[1:]
    if not words:
        return []
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "ialp":
        return check_ialp(arguments)
    if program == "cluster/submit.sh":
        verbs = ("run", "sweep", "compare", "lea")
        return check_ialp(arguments if arguments[:1] and arguments[0] in verbs else ["run", *arguments])
    if program == "make":
        return [f"make has no target {word!r}" for word in arguments if "=" not in word and word not in TARGETS]
    if program in ("python", "pytest", "mkdocs"):
        return _check_script(arguments)
    if "/" in program:
        return [] if (REPOSITORY / program).is_file() else [f"there is no {program}"]
    return [] if program in OTHER_PROGRAMS else [f"{program!r} is no program that the documentation uses"]


def _check_script(arguments: list[str]) -> list[str]:
    files = [word for word in arguments if "/" in word and word.endswith(".py") and not word.startswith("-")]
    problems = [f"there is no {file}" for file in files if not (REPOSITORY / file).is_file()]
    if problems or not files or not arguments[0].endswith(".py"):
        return problems
    code = (REPOSITORY / files[0]).read_text("utf-8")
    options = [word.partition("=")[0] for word in arguments[1:] if word.startswith("--")]
    unknown = [option for option in options if f'"{option}"' not in code]
    if unknown and "arguments, options = parser.parse_known_args()" in code:  # it hands them on to `ialp sweep`
        unknown = [option for option in unknown if option not in _options(VERBS.commands["sweep"])]
    return [f"{files[0]} has no option {option}" for option in unknown]


def check_ialp(arguments: list[str]) -> list[str]:
    """``ialp`` with these arguments: the verb, its options, and the settings that it names."""
    command, path = VERBS, ["ialp"]
    if arguments and arguments[0].startswith("-"):
        return [] if arguments == ["--help"] else [f"ialp has no option {arguments[0]}"]
    while hasattr(command, "commands"):
        if arguments and arguments[0] not in command.commands and getattr(command, "default", ""):
            arguments = [command.default, *arguments]
        if not arguments or arguments[0] not in command.commands:
            return [f"{' '.join(path)} has no verb {arguments[0] if arguments else ''!r}"]
        command = command.commands[arguments[0]]
        path.append(arguments[0])
        arguments = arguments[1:]
    if "--help" in arguments:
        return []
    try:
        given = command.make_context(path[-1], list(arguments)).params
    except Exception as error:
        return [f"{' '.join(path)}: {error}"]
    return _check_service(given) if path[:2] == ["ialp", "serve"] else _check_given(given)


def _check_service(given: dict[str, Any]) -> list[str]:
    """Settings of a service, by their loader."""
    plain = [text for text in given.get("set_") or () if not re.fullmatch(r"[\w.]+=[A-Z]+", text)]
    try:
        serving_settings({}, plain)
    except InputError as error:
        return [str(error)]
    return []


def _check_given(given: dict[str, Any]) -> list[str]:
    named = given.get("scenarios") or [given.get("scenario", "sample")]
    problems = [f"there is no scenario {name!r}" for name in named if not _is_scenario(name)]
    scenario = next((name for name in named if name in KNOWN_SCENARIOS), "sample")
    for text in given.get("vary") or ():
        try:
            space = parse_space([text])
        except InputError as error:
            return [*problems, str(error)]
        for variant in corners(space):
            key, value = next(iter(variant.values.items()))
            problems += check_settings(scenario, [f"{key}={yaml.safe_dump(value, default_flow_style=True).split()[0]}"])
    plain = [re.sub(r"^\w+:(?=[a-z_.]+=)", "", text) for text in given.get("set_") or ()]
    problems += check_settings(scenario, plain)
    methods = given.get("methods")
    if isinstance(methods, str) and methods:
        problems += [f"there is no method {name!r}" for name in methods.split(",") if name not in METHODS]
    return problems


def _is_scenario(name: str) -> bool:
    return name in KNOWN_SCENARIOS or name.endswith((".yaml", ".yml")) or name.isupper()


# ---- settings


def check_settings(scenario: str, overrides: list[str]) -> list[str]:
    """``KEY=VALUE`` texts, by the loader itself. A value in capitals stands for one of the reader's."""
    given = [text for text in overrides if not re.fullmatch(r"[\w.]+=[A-Z]+", text)]
    problems = [p for text in overrides if text not in given for p in check_key(text.partition("=")[0])]
    try:
        settings = load(scenario, given)
    except InputError as error:
        return [*problems, str(error)]
    if not settings.adapt.plugins:
        problems += [f"there is no method {name!r}" for name in settings.adapt.methods if name not in METHODS]
    return problems


def check_key(key: str) -> list[str]:
    """The name of a setting, or of a group of them (``judge.tune.*``, too)."""
    cls: Any = Settings
    for word in key.removesuffix(".*").split("."):
        hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else {}
        if word not in hints:
            return [f"there is no setting {key}"]
        cls = hints[word]
    return []


def check_yaml(text: str, folder: Path) -> list[str]:
    """A YAML block, by the loader, where it is a scenario or a study."""
    tree = yaml.safe_load(text)
    known = {field.name for field in dataclasses.fields(Settings)}
    if not isinstance(tree, dict) or not known & set(tree):
        return []
    path = folder / "block.yaml"
    path.write_text(text, "utf-8")
    try:
        if "vary" in tree:
            plan_sweep(str(path), folder)
        else:
            load(str(path))
    except InputError as error:
        return [str(error)]
    return []


# ---- code in running text


def check_code(code: str) -> list[str]:
    """Code in running text: a verb, an option with a setting, a setting, or a file of the repository."""
    if code.startswith("ialp "):
        return _check_mention(code)
    if code.startswith(("--set ", "--vary ")) and "KEY" not in code:
        words = [word for word in shlex.split(code) if not word.startswith("--")]
        return [
            p for word in words for p in _check_assignment(re.sub(r"^[a-z]+:", "", word), code.startswith("--vary"))
        ]
    groups = "|".join(field.name for field in dataclasses.fields(Settings) if field.name not in ("scenario", "seeds"))
    if re.fullmatch(rf"({groups})\.[a-z_.]+(\.\*)?", code) and not code.endswith((".py", ".parquet")):
        return check_key(code)
    if re.fullmatch(rf"({groups})\.[a-z_.]+=\S+", code):
        return _check_assignment(code)
    if re.fullmatch(r"(benchmarks|cluster|data|docs|ialp_rllib|requirements|tests|tune_experiments)/[\w./-]*", code):
        return [] if (REPOSITORY / code).exists() or code in ("data/coat", "data/NAME") else [f"there is no {code}"]
    return check_shell(code) if code.startswith(("make ", "python ")) else []


def _check_assignment(text: str, varied: bool = False) -> list[str]:
    """``KEY=VALUE`` by itself, whatever the other settings that it needs; or ``KEY=[A, B]``."""
    key, _, value = text.partition("=")
    if value.isupper():
        return check_key(key)
    problems = []
    for one in yaml.safe_load(value) if varied else [yaml.safe_load(value)]:
        tree: Any = one
        for name in reversed(key.split(".")):
            tree = {name: tree}
        try:
            from_dict(Settings, tree, text)
        except InputError as error:
            problems.append(str(error))
    return problems


def _check_mention(code: str) -> list[str]:
    """A verb that is spoken of: it and its options exist, whatever else it would need."""
    try:
        words = shlex.split(code)[1:]
    except ValueError as error:
        return [f"{code}: {error}"]
    command, path = VERBS, "ialp"
    while words and hasattr(command, "commands"):
        word = words.pop(0)
        if word.isupper():  # any verb
            return []
        if word not in command.commands and getattr(command, "default", ""):
            word, words = command.default, [word, *words]
        if word not in command.commands:
            return [f"{path} has no verb {word!r}"] if word != "--help" else []
        command, path = command.commands[word], f"{path} {word}"
    known = _options(command)
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    return [f"{path} has no option {option}" for option in options if option not in known]


def _options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help"}

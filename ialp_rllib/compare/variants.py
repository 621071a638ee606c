"""Settings that are varied: ``--vary KEY=[A, B]`` makes one scenario into several that differ in this alone."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.settings.strict_yaml import parse_yaml
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.run import STAGES, RunFolder
from ialp_rllib.storage import Stage


@dataclass(frozen=True)
class Variant:
    """One combination of the varied settings.

    Attributes:
        values: dotted key -> value.
    """

    values: dict[str, Any]

    @property
    def label(self) -> str:
        """``exploration=greedy, epsilon=0.1``; empty where nothing is varied."""
        last = [key.rpartition(".")[2] for key in self.values]
        keys = [name if last.count(name) == 1 else key for name, key in zip(last, self.values, strict=True)]
        return ", ".join(f"{key}={format_value(value)}" for key, value in zip(keys, self.values.values(), strict=True))

    def overrides(self) -> list[str]:
        """As ``--set`` takes them."""
        return [f"{key}={json.dumps(value)}" for key, value in self.values.items()]

    def scenario_name(self, scenario: str) -> str:
        """The name of a scenario with this variant."""
        return f"{scenario}, {self.label}" if self.values else scenario


def variants(texts: Sequence[str]) -> list[Variant]:
    """All combinations of what ``--vary`` names; one that varies nothing where it names nothing.

    Raises:
        InputError: a text is not ``key=[a, b, ...]``, or a key is named twice.
    """
    choices: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        expected = "a setting and a list of values: --vary agent.exploration=[categorical, greedy]"
        if not equals or not key:
            raise InputError(f"--vary {text}", "is not KEY=[A, B]", expected)
        try:
            found = parse_yaml(values)
        except yaml.YAMLError as error:
            raise InputError(f"--vary {text}", "the values are not valid YAML", expected) from error
        if not isinstance(found, list) or not found:
            raise InputError(f"--vary {text}", "names no list of values", expected)
        if key in choices:
            raise InputError(f"--vary {text}", f"{key} is named twice", "every setting once")
        if len({format_value(value) for value in found}) < len(found):
            raise InputError(f"--vary {text}", "names a value twice", "every value once")
        choices[key] = found
    return [Variant(dict(zip(choices, values, strict=True))) for values in itertools.product(*choices.values())]


def format_value(value: Any) -> str:
    """A value as people write it."""
    return value if isinstance(value, str) else json.dumps(value)


def folder_name(name: str) -> str:
    """A scenario's name as the name of a folder."""
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-") or "x"


def reuse_finished(run: RunFolder, others: Sequence[RunFolder]) -> None:
    """Take over what other variants finished with the same fingerprint: their data, users, judge, policies, runs."""
    for other in others:
        for name in STAGES:
            if name not in ("adapt", "report"):
                _take(run.stage(name), other.stage(name))
        for method in run.settings.adapt.methods:
            for seed in run.settings.seeds:
                _take(job_stage(run, method, seed), job_stage(other, method, seed))


def _take(mine: Stage, theirs: Stage) -> None:
    if mine.fingerprint != theirs.fingerprint or mine.up_to_date() or not theirs.up_to_date():
        return
    temporary = mine.folder.with_name(f".{mine.folder.name}.tmp")
    with storage_errors(mine.folder):
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(theirs.folder, temporary)
        if mine.folder.exists():
            mine.open()  # empties it, or refuses where no run left it
            shutil.rmtree(mine.folder)
        temporary.rename(mine.folder)

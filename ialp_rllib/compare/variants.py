"""Varied settings: ``--vary KEY=[A, B]`` runs a scenario once with each value."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.settings.strict_yaml import parse_yaml
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.budgets import budgets_of
from ialp_rllib.stages.run import STAGES, RunFolder
from ialp_rllib.stages.users import world_stage
from ialp_rllib.storage import Stage
from ialp_rllib.users.worlds import SPLITS


@dataclass(frozen=True)
class Variant:
    """One combination of values of the varied settings.

    Attributes:
        values: dotted name of a setting -> value; empty if nothing is varied.
    """

    values: dict[str, Any]

    @property
    def label(self) -> str:
        """The values as text: ``exploration=greedy, epsilon=0.1``; empty if nothing is varied.

        A setting is named by the last part of its name, or by its full name if two settings have the same last part.
        """
        last = [key.rpartition(".")[2] for key in self.values]
        keys = [name if last.count(name) == 1 else key for name, key in zip(last, self.values, strict=True)]
        return ", ".join(f"{key}={format_value(value)}" for key, value in zip(keys, self.values.values(), strict=True))

    def overrides(self) -> list[str]:
        """The values as arguments of ``--set``."""
        return [f"{key}={json.dumps(value)}" for key, value in self.values.items()]

    def scenario_name(self, scenario: str) -> str:
        """Name of this variant of a scenario, which a run of it is loaded by: without the slashes of paths."""
        return f"{scenario}, {self.label.replace('/', '-')}" if self.values else scenario


def variants(texts: Sequence[str]) -> list[Variant]:
    """All combinations of the values given to ``--vary``; a single one without values if nothing is varied.

    Args:
        texts: ``key=[a, b, ...]``.

    Raises:
        InputError: a text has another form, or a key or a value is named twice.
    """
    choices: dict[str, list[Any]] = {}
    for text in texts:
        key, values = parse_vary(text)
        if key in choices:
            raise InputError(f"--vary {text}", f"{key} is named twice", "every setting once")
        choices[key] = values
    return combinations(choices)


def combinations(choices: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """All combinations of the values of each setting."""
    return [Variant(dict(zip(choices, values, strict=True))) for values in itertools.product(*choices.values())]


def parse_vary(text: str) -> tuple[str, list[Any]]:
    """Setting and values of ``key=[a, b, ...]``.

    Raises:
        InputError: the text has another form, or a value is named twice.
    """
    key, equals, values = text.partition("=")
    expected = "a setting and a list of values: --vary agent.exploration=[categorical, greedy]"
    if not equals or not key:
        raise InputError(f"--vary {text}", "is not KEY=[A, B]", expected)
    try:
        parsed = parse_yaml(values)
    except yaml.YAMLError as error:
        raise InputError(f"--vary {text}", "the values are not valid YAML", expected) from error
    if not isinstance(parsed, list) or not parsed:
        raise InputError(f"--vary {text}", "names no list of values", expected)
    if len({format_value(value) for value in parsed}) < len(parsed):
        raise InputError(f"--vary {text}", "names a value twice", "every value once")
    return key, parsed


def format_value(value: Any) -> str:
    """A value as text: strings without quotation marks, others as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def folder_name(name: str) -> str:
    """The name of a run with all characters replaced that are unusual in file names."""
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-") or "x"


def reuse_finished(run: RunFolder, others: Sequence[RunFolder]) -> None:
    """Copy stages and training runs that other runs have finished with the same fingerprint.

    Args:
        run: the run that receives the copies.
        others: runs to copy from, in order of preference.

    Raises:
        InputError: the run's folder cannot be written to, or contains files of no run.
    """
    for other in others:
        for name in STAGES:
            if name not in ("adapt", "report"):
                _copy_stage(other.stage(name), run.stage(name))
        for method in run.settings.adapt.methods:
            for seed in run.settings.seeds:
                for budget in budgets_of(run.settings, method):
                    _copy_stage(job_stage(other, method, seed, budget), job_stage(run, method, seed, budget))

    if not run.stage("users").up_to_date():
        _copy_worlds(run, others)


def _copy_worlds(run: RunFolder, others: Sequence[RunFolder]) -> None:
    """Single worlds: the train and the validation world are the same where only the test world differs."""
    for other, split in itertools.product(others, SPLITS):
        _copy_stage(world_stage(other, split), world_stage(run, split), run.stage("users"))


def _copy_stage(source: Stage, target: Stage, within: Stage | None = None) -> None:
    """Copy a finished stage; one that is a part ``within`` another makes that one an unfinished stage."""
    if target.fingerprint != source.fingerprint or target.up_to_date() or not source.up_to_date():
        return
    with storage_errors(target.folder):
        if within is not None:
            within.open(keep=True)
        target.copy_from(source)

"""What a sweep varies: lists of values and ranges, as a grid, as random draws, or as a space for a searcher."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ialp_rllib.compare.variants import Variant, combinations, parse_vary
from ialp_rllib.errors import InputError

_NUMBER = r"\s*([-+.\deE]+)\s*"
_RANGE = re.compile(rf"\s*(uniform|loguniform|randint)\({_NUMBER},{_NUMBER}\)\s*")
_REPEATS = 100  # draws in a row that were there before, after which a space is taken for exhausted


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    Attributes:
        kind: ``uniform``, ``loguniform`` (uniform in the logarithm) or ``randint`` (whole numbers).
        low, high: the ends.
    """

    kind: str
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float | int:
        """A number, rounded to four significant digits, so that it is named as it is used."""
        if self.kind == "randint":
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.kind == "uniform":
            value = rng.uniform(self.low, self.high)
        else:
            value = np.exp(rng.uniform(np.log(self.low), np.log(self.high)))
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    def ends(self) -> list[Any]:
        """Lowest and highest value."""
        return [int(self.low), int(self.high)] if self.kind == "randint" else [self.low, self.high]

    def __str__(self) -> str:
        return f"{self.kind}({self.low:g}, {self.high:g})"


Space = dict[str, list[Any] | Range]
"""Dotted name of a setting -> its values, or a range."""


def parse_space(texts: Iterable[str]) -> Space:
    """The space of ``key=[a, b]``, ``key=uniform(a, b)``, ``key=loguniform(a, b)`` and ``key=randint(a, b)``.

    Raises:
        InputError: a text has another form, a range is empty, or a value or setting is named twice.
    """
    space: Space = {}
    for text in texts:
        key, _, values = text.partition("=")
        matched = _RANGE.fullmatch(values)
        if matched:
            parsed: list[Any] | Range = _range(matched, text)
        else:
            key, parsed = parse_vary(text)
        if key in space:
            raise InputError(f"--vary {text}", f"{key} is named twice", "every setting once")
        space[key] = parsed
    return space


def _range(matched: re.Match[str], text: str) -> Range:
    kind, *ends = matched.groups()
    try:
        low, high = (float(end) for end in ends)
    except ValueError as error:
        raise InputError(f"--vary {text}", "an end is no number", "for example uniform(0.05, 1)") from error
    whole = low.is_integer() and high.is_integer()
    if not low < high or (kind == "loguniform" and low <= 0) or (kind == "randint" and not whole):
        expected = "a lower end below the upper one; of loguniform above 0, of randint whole numbers"
        raise InputError(f"--vary {text}", "is an empty range", expected)
    return Range(kind, low, high)


def grid(space: Mapping[str, list[Any] | Range]) -> list[Variant]:
    """All combinations.

    Raises:
        InputError: the space has a range.
    """
    lists = {key: values for key, values in space.items() if not isinstance(values, Range)}
    for key, values in space.items():
        if isinstance(values, Range):
            raise InputError(f"--vary {key}={values}", "is a range", "a list of values, or --search random or optuna")
    return combinations(lists)


def draw(space: Mapping[str, list[Any] | Range], trials: int, seed: int) -> list[Variant]:
    """Random combinations, each once; fewer than ``trials`` where the space has no more."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, Variant] = {}
    repeats = 0
    while len(drawn) < trials and repeats < _REPEATS:
        values = {key: _draw(choices, rng) for key, choices in space.items()}
        variant = Variant(values)
        repeats = repeats + 1 if variant.label in drawn else 0
        drawn.setdefault(variant.label, variant)
    return list(drawn.values())


def _draw(choices: list[Any] | Range, rng: np.random.Generator) -> Any:
    return choices.draw(rng) if isinstance(choices, Range) else choices[int(rng.integers(len(choices)))]


def corners(space: Mapping[str, list[Any] | Range]) -> list[Variant]:
    """A variant for each value of each setting, and for both ends of each range; the others at their first value."""
    ends = {key: values.ends() if isinstance(values, Range) else values for key, values in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    return [Variant({**first, key: value}) for key, values in ends.items() for value in values]


def tune_space(space: Mapping[str, list[Any] | Range]) -> dict[str, Any]:
    """The space as Ray Tune's search domains."""
    from ray import tune

    domains: dict[str, Any] = {}
    for key, values in space.items():
        if not isinstance(values, Range):
            domains[key] = tune.choice(values)
        elif values.kind == "randint":
            domains[key] = tune.randint(int(values.low), int(values.high) + 1)
        elif values.kind == "uniform":
            domains[key] = tune.uniform(values.low, values.high)
        else:
            domains[key] = tune.loguniform(values.low, values.high)
    return domains

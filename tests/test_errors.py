"""Errors survive the way through Ray, which pickles them."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil

import pytest

import ialp_rllib
from ialp_rllib.errors import AtChanceError, IalpError, InputError


def subclasses() -> list[type[IalpError]]:
    """All error classes of the package, whichever module defines them."""
    found: dict[type[IalpError], None] = {}
    for module in pkgutil.walk_packages(ialp_rllib.__path__, "ialp_rllib."):
        if module.name.endswith("__main__"):
            continue
        members = vars(importlib.import_module(module.name)).values()
        found |= dict.fromkeys(m for m in members if isinstance(m, type) and issubclass(m, IalpError))
    return list(found)


@pytest.mark.parametrize("kind", subclasses(), ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_after_pickling(kind: type[IalpError]) -> None:
    own = kind.__init__ is not Exception.__init__  # the others take one message
    count = len(inspect.signature(kind.__init__).parameters) - 1 if own else 1
    arguments = [f"argument {index} [/b] ü" for index in range(count)]
    error = kind(*arguments)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.exit_code, again.args, vars(again)) == (
        str(error),
        error.exit_code,
        error.args,
        vars(error),
    )
    assert all(argument in str(again) for argument in arguments)


def test_exit_codes_and_messages() -> None:
    codes = {kind.__name__: kind.exit_code for kind in (IalpError, InputError, AtChanceError)}
    assert codes == {"IalpError": 1, "InputError": 2, "AtChanceError": 3}
    assert str(AtChanceError("where", "problem", "this")) == "where: problem\n  expected: this"
    assert str(InputError("where", "problem")) == "where: problem"


def test_the_search_finds_classes_outside_of_errors() -> None:
    assert {IalpError, InputError, AtChanceError} <= set(subclasses())


def test_a_location_too_long_to_be_read_loses_its_middle() -> None:
    where = f"/data/{'x' * 5000}/items.csv, row 3"
    text = str(InputError(where, "no such file", "a file"))
    assert len(text) < 450 and text.startswith("/data/xxx") and "items.csv, row 3: no such file" in text
    assert InputError(where, "no such file").where == where

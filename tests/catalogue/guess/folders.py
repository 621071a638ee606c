"""Synthetic logs and items, and the steps from a folder to a catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.guess import Guess, guess_folder, scenario_text
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.settings import Settings, load
from tests.catalogue.made_up import FORMATS, Rows

USERS, STEPS, ITEMS = 40, 6, 30
START = 1_600_000_000  # 2020-09-13
_WORDS = ("red", "small", "steel", "warm", "round", "plain", "blue")


def log_rows(user: str = "user_id", item: str = "item_id", **columns: Callable[[int, int], Any]) -> Rows:
    """Log of 40 users with 6 items each; further columns are functions of user and step, both from 0."""
    return [
        {user: f"u{u}", item: item_of(u, step), **{name: value(u, step) for name, value in columns.items()}}
        for step in range(STEPS)
        for u in range(USERS)
    ]


def item_of(user: int, step: int) -> str:
    return f"i{(7 * user + 5 * step) % ITEMS}"


def item_rows(item: str = "item_id", title: str = "title", **columns: Callable[[int], Any]) -> Rows:
    """30 items with a title; further columns are functions of the index of the item."""
    return [
        {item: f"i{n}", title: f"A {_WORDS[n % 7]} thing no {n}", **{name: value(n) for name, value in columns.items()}}
        for n in range(ITEMS)
    ]


def seconds(user: int, step: int) -> int:
    return START + 1000 * user + 90_000 * step


def stars(user: int, step: int) -> int:
    return (user + step) % 5 + 1


def put(folder: Path, name: str, rows: Rows) -> Path:
    """Write rows in the format of the file name."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(FORMATS[name.partition(".")[2]](rows))
    return path


def shop(folder: Path, log: Rows | None = None, items: Rows | None = None, ending: str = "csv") -> Path:
    """A folder with a log and its items under the default file names."""
    put(folder, f"interactions.{ending}", log or log_rows(timestamp=seconds))
    put(folder, f"items.{ending}", items or item_rows())
    return folder


def scenario(guess: Guess, into: Path) -> Settings:
    """The settings in the YAML of a guess."""
    path = into / "guessed.yaml"
    path.write_text(scenario_text(guess, "guessed", ["ialp data validate guessed.yaml"]), "utf-8")
    return load(str(path), [f"catalogue.data={json.dumps(str(guess.folder))}"])


def through(folder: Path, into: Path) -> tuple[Guess, Settings, Catalogue]:
    """Guess, write and load the scenario, and read the data as ``ialp prepare`` does."""
    guess = guess_folder(folder)
    settings = scenario(guess, into)
    return guess, settings, read_source(settings.catalogue)


def expected_sequences() -> dict[str, list[str]]:
    return {f"u{u}": [item_of(u, step) for step in range(STEPS)] for u in range(USERS)}

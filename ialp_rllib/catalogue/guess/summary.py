"""A guess as lines of a table: what, the guess, and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.catalogue import column_names as names
from ialp_rllib.catalogue.guess.guess import Guess
from ialp_rllib.catalogue.guess.profile import Profile
from ialp_rllib.catalogue.guess.scenario import episode_sizes


@dataclass(frozen=True)
class Line:
    """One guess and the evidence for it."""

    what: str
    guess: str
    evidence: str


def summary(guess: Guess) -> list[Line]:
    """All guesses, in the order of the scenario."""
    pair, lengths = guess.pair, guess.lengths
    median = f"median {lengths.median:g}, 90th percentile {lengths.p90:g}, maximum {lengths.max:,}"
    bound = "" if pair.log.complete else " (lower bounds)"
    horizon = episode_sizes(pair.key.ids).horizon
    return [
        Line("log", pair.log.file, f"{_format(pair.log)}; users and items recur in {pair.log.scope}"),
        Line("user", pair.user.name, f"{_basis(names.user_score(pair.user.name))}; {lengths.users:,} users"),
        Line("item", pair.item.name, f"{_basis(names.item_score(pair.item.name))}; {pair.ids:,} items"),
        *_order(guess),
        _rating(guess),
        Line("sequence length", median, f"interactions per user in {pair.log.scope}{bound}"),
        Line("items", pair.items.file, f"{_format(pair.items)}; {pair.key.ids:,} distinct ids in {pair.items.scope}"),
        Line("item id", pair.key.name, f"contains {pair.matched:,} of the {pair.ids:,} item ids in the log"),
        Line("attributes", ", ".join(column.name for column in guess.attributes) or "none", _attributes(guess)),
        *_users(guess),
        Line("world", "sequence", "the log; a rating world requires the ratings of all user-item pairs"),
        Line("history", f"{horizon + 1}, mask_recent -1", f"first item and {horizon} steps of the episode"),
        Line("item_noun", guess.item_noun, "names of columns, files and folder; edit it"),
        Line("platform", guess.platform, "names of columns, files and folder; edit it"),
    ]


def _order(guess: Guess) -> list[Line]:
    position, time = guess.position, guess.time
    lines = [Line("position", position.name, "integers, unique per user; sort the log")] if position else []
    if time is None:
        return [*lines, Line("time", "none", "no column of times")]
    evidence = f"{time.unit}, {time.range}" + ("" if guess.pair.log.complete else f" in {guess.pair.log.scope}")
    if not time.readable:
        evidence += "; not supported, not read" if position else "; not supported"
    elif not position:
        evidence += "; sorts the log"
    ties = f"; {time.ties:.0%} of the rows tied with another row of the user" if time.ties else ""
    return [*lines, Line("time", time.column.name, evidence + ties)]


def _rating(guess: Guess) -> Line:
    if guess.rating is None:
        return Line("rating", "none", "no column of ratings")
    column = guess.rating.column
    return Line("rating", column.name, f"from {column.low:g} to {column.high:g}; {guess.rating.histogram}")


def _attributes(guess: Guess) -> str:
    excluded = "; ".join(f"{column.name} ({reason})" for column, reason in guess.excluded)
    return "short texts" + (f"; excluded: {excluded}" if excluded else "")


def _users(guess: Guess) -> list[Line]:
    if guess.users is None:
        return []
    users = guess.users
    read = "read because of its name" if guess.users_by_name else "not read: only rating worlds use it"
    matched = f"column {users.key.name} contains {users.matched:,} of the {users.ids:,} users in the log"
    return [Line("users", users.table.file, f"{matched}; {read}")]


def _format(table: Profile) -> str:
    kind, suffix = table.source.table.kind, table.source.path.suffix
    return f"{kind}, {suffix}" if suffix in (".gz", ".zst") else kind


def _basis(score: int) -> str:
    return "by name and values" if score else "by values"

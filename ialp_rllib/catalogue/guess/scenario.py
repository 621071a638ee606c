"""The YAML of a guessed scenario, with a comment on every setting."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import yaml

from ialp_rllib.catalogue.guess.columns import Rating, percent
from ialp_rllib.catalogue.guess.guess import Guess
from ialp_rllib.catalogue.problems import clip
from ialp_rllib.settings.judge import JudgeSettings
from ialp_rllib.settings.users import UsersSettings

_WIDTH = 120
_COMMENT = 44  # column at which comments start


@dataclass(frozen=True)
class EpisodeSizes:
    """Steps of an episode, and candidates per prompt of the judge."""

    horizon: int
    candidates: int


def episode_sizes(items: int) -> EpisodeSizes:
    """The defaults, or smaller sizes for small catalogues, so that items remain to be recommended at every step."""
    horizon, candidates = UsersSettings().horizon, JudgeSettings().candidates
    if items > horizon + candidates:
        return EpisodeSizes(horizon, candidates)
    candidates = max(2, min(candidates, items // 3))
    return EpisodeSizes(max(1, min(horizon, items - candidates - 1)), candidates)


def scenario_text(guess: Guess, name: str, commands: list[str]) -> str:
    """The YAML of a scenario.

    Args:
        name: name of the scenario.
        commands: commands to run next, for the header.
    """
    header = "Written by `ialp init` from the names and the first rows of the files. Check it, then run:"
    lines = [f"# {_printable(line)}" for line in [header, *(f"  {command}" for command in commands)]]
    lines += _setting(0, "scenario", name, "name of the run folder, and in the report")
    lines += _catalogue(guess)
    sizes = episode_sizes(guess.pair.key.ids)
    lines += _group(0, "users", "the simulated users")
    lines += _setting(1, "world", "sequence", "learned from the sequences of the log; `rating` requires all ratings")
    lengths, why = guess.lengths, "steps per episode"
    if sizes.horizon < UsersSettings().horizon:
        why += f", lowered since there are {guess.pair.key.ids} items only"
    why += f"; interactions per user: {lengths.median:g} (median), {lengths.p90:g} (90th percentile)"
    lines += _setting(1, "horizon", sizes.horizon, why)
    lines += _judge(guess, sizes)
    lines += _group(0, "agent", "the policy")
    lines += _setting(
        1, "history", sizes.horizon + 1, "items in the state: the first item and all steps of the episode"
    )
    lines += _setting(1, "mask_recent", -1, "items of the session are not recommended again; 0: they may be")
    return "\n".join(lines) + "\n"


def _catalogue(guess: Guess) -> list[str]:
    pair = guess.pair
    lines = _group(0, "catalogue", "the data; --data sets their folder")
    lines += _setting(1, "source", "files", "tables, not one of the official archives")
    attributes = {_attribute(column.name): column.name for column in guess.attributes}
    excluded = "; ".join(f"{column.name} ({reason})" for column, reason in guess.excluded)
    why = "item texts that the judge reads" + (f". Excluded: {excluded}" if excluded else "")
    lines += _setting(1, "attributes", list(attributes), why)
    lines += _group(1, "items", "one row per item")
    lines += _setting(2, "file", pair.items.file, f"contains {pair.matched:,} of the {pair.ids:,} item ids in the log")
    lines += _setting(2, "id", pair.key.name, f"{pair.key.ids:,} distinct values in {pair.items.scope}")
    renamed = {attribute: column for attribute, column in attributes.items() if attribute != column}
    if renamed:
        lines += _setting(2, "columns", renamed, "attribute: column; `item_id` is reserved")
    lines += _group(1, "interactions", "one row per interaction")
    lines += _setting(2, "file", pair.log.file, f"users and items recur in {pair.log.scope}")
    lines += _setting(2, "user", pair.user.name, f"{guess.lengths.users:,} users")
    lines += _setting(2, "item", pair.item.name, f"{pair.ids:,} items")
    return lines + _order(guess) + _rating(guess.rating) + _users(guess) + _filters(guess)


def _order(guess: Guess) -> list[str]:
    position, time = guess.position, guess.time
    if position:
        lines = _setting(
            2, "position", position.name, "position in the user's sequence, unique per user; sorts the log"
        )
    else:
        lines = _setting(2, "position", "", "no such column: " + ("sorted by time" if time else "order of the file"))
    if time is None:
        return lines + _setting(2, "time", "", "no such column")
    why = f"{time.unit}, {time.range}" + ("" if guess.pair.log.complete else f" in {guess.pair.log.scope}")
    if not time.readable and position:
        why = f"{time.column.name} ({why}) is not supported by the reader; the log is sorted without it"
        return lines + _setting(2, "time", "", why)
    if not time.readable:
        why += "; not supported by the reader: convert it"
    elif not time.in_seconds:
        why += "; only their order is used"
    lines += _setting(2, "time", time.column.name, why)
    if time.time_unit:
        lines += _setting(2, "time_unit", time.time_unit, "CHECK: counted from 1970 they are plausible dates")
    if time.time_format:
        lines += _setting(2, "time_format", time.time_format, "as in strptime")
    return lines


def _rating(rating: Rating | None) -> list[str]:
    if rating is None:
        return _setting(2, "rating", "", "no such column: every row counts as a choice of the user")
    column = rating.column
    return _setting(2, "rating", column.name, f"from {column.low:g} to {column.high:g}; {rating.histogram}")


def _users(guess: Guess) -> list[str]:
    if guess.users is None:
        return []
    table, key = guess.users.table, guess.users.key
    matched = f"contains {guess.users.matched:,} of the {guess.users.ids:,} users in the log"
    if guess.users_by_name:
        lines = _group(1, "users", "one row per user; read because of the file name")
        lines += _setting(2, "file", table.file, matched)
        return lines + _setting(2, "id", key.name, f"{key.ids:,} distinct values in {table.scope}")
    setting = f"users: {{file: {_scalar(table.file)}, id: {_scalar(key.name)}}}"
    return _wrap(1, f"{setting} would read the user table ({matched}), which only rating worlds use")


def _filters(guess: Guess) -> list[str]:
    """Filters that may be useful, all commented out: which rows are choices of the user is not ours to decide."""
    offers = []
    rating, lengths = guess.rating, guess.lengths
    if rating and rating.threshold > 0 and rating.below > 0:
        offers.append((f"min_rating: {rating.threshold:g}", f"keeps {percent(1 - rating.below)} of the rows"))
    if lengths.repeats > 0:
        offers.append(
            ("drop_repeats: true", f"removes repeated items of a user: {percent(lengths.repeats)} of the rows")
        )
    if lengths.single > 0 and guess.pair.log.complete:  # part of a log sorted by time shows few rows per user
        offers.append(
            ("min_length: 2", f"removes users with a single interaction: {percent(lengths.single)} of the users")
        )
    if not offers:
        return []
    width = max(len(text) for text, _ in offers)
    lines = ["  # filters:  # optional; uncomment this line and those to apply"]
    return [*lines, *(f"  #   {text:{width}}  # {why}" for text, why in offers)]


def _judge(guess: Guess, sizes: EpisodeSizes) -> list[str]:
    lines = _group(0, "judge", "the LLM that plays the users offline")
    why = "EDIT: model id or folder; `tiny` only knows the sample's words, `ialp judge init --tiny` makes another"
    lines += _setting(1, "model", "tiny", why)
    lines += _setting(1, "platform", guess.platform, 'EDIT: "You are a user of ..." in the prompt')
    lines += _setting(1, "item_noun", guess.item_noun, "EDIT: noun for an item in the prompt")
    if sizes.candidates != JudgeSettings().candidates:
        why = f"candidates per prompt; lowered, since there are {guess.pair.key.ids} items only"
        lines += _setting(1, "candidates", sizes.candidates, why)
    return lines


def _attribute(column: str) -> str:
    return f"{column} text" if column == "item_id" else column


def _group(depth: int, key: str, why: str) -> list[str]:
    text = f"{'  ' * depth}{key}:"
    return [f"{text:{_COMMENT}}# {why}"]


def _setting(depth: int, key: str, value: Any, why: str) -> list[str]:
    """A setting with its comment, which precedes it if the line would be too long."""
    text, why = f"{'  ' * depth}{key}: {_scalar(value)}", _printable(why)
    line = f"{text:{_COMMENT - 2}}  # {why}"
    return [line] if len(line) <= _WIDTH else [*_wrap(depth, why), text]


def _wrap(depth: int, why: str) -> list[str]:
    prefix = f"{'  ' * depth}# "
    return textwrap.wrap(
        _printable(why), _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
    )


def _scalar(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False)
    return text.strip()[1:-1]


def _printable(text: str) -> str:
    """Text without line breaks and characters that are not allowed in YAML comments."""
    return "".join(c if c.isprintable() else "?" for c in clip(text, 2000))

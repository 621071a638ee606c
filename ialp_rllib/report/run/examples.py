"""Example sessions with the names of their items, and examples of what the judge said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from ialp_rllib.report.kit.formatting import format_count, format_number
from ialp_rllib.report.kit.names import method_styles

SESSIONS = 3
"""Example sessions on the page."""
STEPS = 8
"""Recommendations of a session that are shown."""
PROMPT_STEPS = (2, 4, 6)
"""Steps of the sessions whose prompts are shown, one of each of the first sessions."""
_SHORT = 26  # letters of a name
_TITLE = 0.9  # an attribute with this share of distinct values is a title, which says enough
_HISTORY = 5  # items of a prompt's history that are shown, the latest


Texts = Sequence[str] | np.ndarray
"""Texts by index."""


class Name(NamedTuple):
    """The name of an item, cut for a table, and in full."""

    short: str
    full: str


class Examples(NamedTuple):
    """What the page shows of sessions and of the judge: :func:`example_sessions` and :func:`judge_examples`."""

    sessions: list[dict[str, Any]]
    judge: list[dict[str, Any]]


def item_names(ids: Texts, texts: Mapping[str, Texts], wanted: Iterable[int]) -> dict[int, Name]:
    """Item -> name: its title where one attribute is nearly unique, else all its attributes, else its id.

    Args:
        ids: the items' ids.
        texts: attribute -> one text per item; empty where an item has none.
        wanted: the items to name.
    """
    title = next((values for values in texts.values() if len(set(values) - {""}) >= _TITLE * len(ids)), None)
    names = {}
    for item in set(wanted):
        full = ", ".join(str(values[item]) for values in texts.values() if values[item]) or str(ids[item])
        short = str(title[item]) if title is not None and title[item] else full
        names[item] = Name(_cut(short), f"{full} [{ids[item]}]")
    return names


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1].rstrip(' ,')}…"


def example_sessions(sessions: pd.DataFrame, names: Mapping[int, Name], users: Texts) -> list[dict[str, Any]]:
    """What each method, at the end of its run, recommends to the same few test users.

    Args:
        sessions: rows of ``sessions`` (:mod:`ialp_rllib.results.sessions`) with a column ``method``, of one seed.
        names: the name of each item.
        users: the id of each user.

    Returns:
        For each of the first :data:`SESSIONS` episodes ``user``, ``start`` (the name of the first item) and ``rows``:
        for each method the ``cells`` of its first :data:`STEPS` recommendations, the number of ``more``, and the
        session's ``total`` reward and ``length``. A cell holds the ``name``, the user's ``answer``, ``like`` (the
        answer as a share of the highest one on the page) and ``same``: the method recommends it in all these sessions.
    """
    last = sessions[(sessions["epoch"] == "end") & (sessions["episode"] < SESSIONS)]
    if last.empty:
        return []
    top = float(last["reward"].max())
    everywhere = _in_all_sessions(last)
    examples = []
    for _, episode in last.groupby("episode"):
        rows = []
        for style in method_styles(episode["method"]).values():
            steps = episode[episode["method"] == style.id].sort_values("step")
            cells = [
                {
                    "name": names[int(item)],
                    "answer": format_number(reward),
                    "like": round(max(0.0, reward / top), 2) if top > 0 else 0.0,
                    "same": (style.id, item) in everywhere,
                }
                for item, reward in zip(steps["item"][:STEPS], steps["reward"][:STEPS], strict=True)
            ]
            total, length = format_number(steps["reward"].sum()), format_count(len(steps))
            more = max(0, len(steps) - STEPS)
            rows.append({"method": style, "cells": cells, "more": more, "total": total, "length": length})
        first = episode.iloc[0]
        examples.append({"user": str(users[int(first["user"])]), "start": names[int(first["start"])], "rows": rows})
    return examples


def _in_all_sessions(sessions: pd.DataFrame) -> set[tuple[str, int]]:
    """(method, item) of the items that a method recommends in every one of these sessions; none, where it has one."""
    counts = sessions.groupby(["method", "item"])["episode"].nunique()
    played = sessions.groupby("method")["episode"].nunique()
    return {key for key, count in counts.items() if count == played[key[0]] > 1}


def chosen_prompts(table: pa.Table) -> list[dict[str, Any]]:
    """Rows of a preference table to show: one of each of its first sessions, and where there is one, an answer None.

    Args:
        table: in the schema ``PREFERENCES`` of :mod:`ialp_rllib.judge.distillation.preferences`, by session and step.
    """
    rows = table.select(["session", "step", "label"]).to_pandas()
    rows = rows[rows["label"] >= 0]  # refused prompts have no answer
    picked = []
    for session, step in zip(rows["session"].drop_duplicates(), PROMPT_STEPS, strict=False):
        steps = rows[rows["session"] == session]
        picked.append(int(steps.index[(steps["step"] - step).abs().argmin()]))
    none = len(table["candidates"][0]) if table.num_rows else 0
    if picked and not (rows.loc[picked, "label"] == none).any():
        others = rows[
            (rows["label"] == none) & (rows["session"] > rows.loc[picked[-1], "session"]) & (rows["step"] > 1)
        ]
        picked[-1] = int(others.index[0]) if len(others) else picked[-1]
    return [table.slice(index, 1).to_pylist()[0] for index in picked]


def judge_examples(rows: Sequence[Mapping[str, Any]], names: Mapping[int, Name], users: Texts) -> list[dict[str, Any]]:
    """Answers of the judge in words.

    Args:
        rows: rows of a preference table (``PREFERENCES`` in :mod:`ialp_rllib.judge.distillation.preferences`).
        names: the name of each item.
        users: the id of each user.

    Returns:
        For each row ``user``; ``history``, the names of its latest items, and ``earlier``, the number of those before
        them; and ``candidates``, the last one None: ``letter``, ``name``, ``probability`` (of its label, as text, and
        ``share`` from 0 to 1) and whether it was ``chosen``.
    """
    examples = []
    for row in rows:
        history = list(row["history"])
        with np.errstate(invalid="ignore"):
            shares = np.nan_to_num(np.exp(np.asarray(row["logprobs"], float)))
        options = [names[item] for item in row["candidates"]] + [Name("None of them", "None of them")]
        examples.append(
            {
                "user": str(users[row["user"]]),
                "history": [names[item] for item in history[-_HISTORY:]],
                "earlier": max(0, len(history) - _HISTORY),
                "candidates": [
                    {
                        "letter": chr(ord("a") + index),
                        "name": name,
                        "probability": f"{share:.0%}" if share >= 0.005 else "<1%",
                        "share": round(float(share), 3),
                        "chosen": index == row["label"],
                    }
                    for index, (name, share) in enumerate(zip(options, shares, strict=True))
                ],
            }
        )
    return examples

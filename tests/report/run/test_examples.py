"""Example sessions and answers of the judge, with the names of their items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.judge.distillation.preferences import PREFERENCES, preference_rows
from ialp_rllib.report.run.examples import Name, chosen_prompts, example_sessions, item_names, judge_examples

USERS = [f"u{index}" for index in range(9)]


def sessions(rewards: dict[str, list[list[float]]]) -> pd.DataFrame:
    """Sessions with these rewards: popularity always recommends items 0, 1, ..., others one item more per episode."""
    rows = []
    for method, episodes in rewards.items():
        for episode, steps in enumerate(episodes):
            for step, reward in enumerate(steps):
                item = step + (0 if method == "popularity" else 10 * episode)
                where = {"epoch": "end", "episode": episode, "user": episode + 1, "start": 5, "step": step + 1}
                rows.append({"method": method, **where, "item": item, "reward": reward})
    return pd.DataFrame(rows)


def test_sessions_are_shown_step_by_step() -> None:
    names = {item: Name(f"item {item}", f"item {item} in full") for item in range(50)}
    table = sessions({"popularity": [[1.0, 2.0], [4.0], [0.5]], "a2c": [[2.0] * 10, [1.0], [1.0]]})
    first, second, third = example_sessions(pd.concat([table, table.assign(epoch="0", reward=9.0)]), names, USERS)
    assert (first["user"], first["start"].short, second["user"], third["user"]) == ("u1", "item 5", "u2", "u3")
    popularity, a2c = first["rows"]
    assert [cell["name"].short for cell in popularity["cells"]] == ["item 0", "item 1"]
    assert [cell["answer"] for cell in popularity["cells"]] == ["1.00", "2.00"]
    assert [cell["like"] for cell in popularity["cells"]] == [0.25, 0.5]  # of 4, the highest at the end
    assert [cell["same"] for cell in popularity["cells"]] == [True, False]  # only item 0 is in all three sessions
    assert (popularity["total"], popularity["length"]) == ("3.00", "2")
    assert len(a2c["cells"]) == 8 and a2c["more"] == 2 and (a2c["total"], a2c["length"]) == ("20.0", "10")
    assert not any(cell["same"] for cell in a2c["cells"])
    alone = example_sessions(table[table["episode"] == 0], names, USERS)
    assert not any(cell["same"] for row in alone[0]["rows"] for cell in row["cells"])
    assert example_sessions(table.assign(epoch="0"), names, USERS) == []


def test_names_of_items() -> None:
    ids = ["i0", "i1", "i2"]
    genres = {"genre": ["pop", "", "pop"], "mood": ["calm", "", "jolly"]}
    assert item_names(ids, genres, [0, 1]) == {0: Name("pop, calm", "pop, calm [i0]"), 1: Name("i1", "i1 [i1]")}
    titles = genres | {"title": ["A song", "A very long title of a song that ends late", "Another"]}
    named = item_names(ids, titles, [0, 1, 1])
    assert named[0] == Name("A song", "pop, calm, A song [i0]") and len(named) == 2
    assert named[1].short == "A very long title of a so…" and named[1].full.startswith("A very long title of a song")
    assert item_names(ids, {}, [2]) == {2: Name("i2", "i2 [i2]")}


def answers(labels: list[tuple[int, int, int]]) -> Any:
    """A table of (session, step, label) with three candidates and probabilities 1/2 for the label, 1/6 for others."""
    count = len(labels)
    columns: dict[str, Any] = {name: [0] * count for name in PREFERENCES.names}
    columns["session"], columns["step"], columns["label"] = (list(part) for part in zip(*labels, strict=True))
    columns["user"] = [session + 1 for session, _, _ in labels]
    columns["history"] = [list(range(step)) for _, step, _ in labels]
    columns["candidates"] = [[7, 8, 9]] * count
    shares = np.full((count, 4), 1 / 6)
    shares[np.arange(count), columns["label"]] = 0.5
    columns["logprobs"], columns["proposal"] = np.log(shares).tolist(), [[0.0] * 3] * count
    columns["prompt_key"] = [b"0" * 16] * count
    columns["model_fingerprint"] = columns["prompt_fingerprint"] = [""] * count
    return preference_rows(columns)


def test_prompts_of_several_sessions_and_one_none() -> None:
    table = answers([(s, step, 3 if (s, step) == (5, 4) else step % 3) for s in range(6) for step in range(1, 8)])
    picked = chosen_prompts(table)
    assert [(row["session"], row["step"]) for row in picked] == [(0, 2), (1, 4), (5, 4)]
    assert picked[2]["label"] == 3  # None
    few = answers([(0, 1, 0), (0, 2, -1)])
    assert [(row["session"], row["step"]) for row in chosen_prompts(few)] == [(0, 1)]  # refused: nothing to show
    assert chosen_prompts(few.slice(0, 0)) == []


def test_what_the_judge_said() -> None:
    names = {item: Name(f"item {item}", "") for item in range(10)}
    [one] = judge_examples(answers([(0, 7, 1)]).to_pylist(), names, USERS)
    assert one["user"] == "u1" and one["earlier"] == 2
    assert [name.short for name in one["history"]] == [f"item {item}" for item in range(2, 7)]
    assert [option["letter"] for option in one["candidates"]] == ["a", "b", "c", "d"]
    assert [option["chosen"] for option in one["candidates"]] == [False, True, False, False]
    assert [option["probability"] for option in one["candidates"]] == ["17%", "50%", "17%", "17%"]
    assert one["candidates"][3]["name"].short == "None of them"

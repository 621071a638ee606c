"""Stage ``augment``: what the environments say about all users, in parts from which a killed run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from ialp_rllib.agent.policy.transitions import EnvironmentData
from ialp_rllib.catalogue.ranking_split import RankingSplit
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.threads import threads_for
from ialp_rllib.judge.environment.apply import Said, Windows, augment, rate_actions, states_of, windows
from ialp_rllib.judge.environment.model import Environment
from ialp_rllib.progress import Progress
from ialp_rllib.results.augmented import AUGMENTED
from ialp_rllib.results.ranking import BUCKETS, popularity_buckets
from ialp_rllib.stages.lea.model import (
    TITLES,
    Cost,
    augmented_part,
    facts_of,
    learnt_environment,
    sequences_of,
    split_of,
)
from ialp_rllib.stages.lea.neighbours import neighbour_actions, neighbour_part, read_neighbours
from ialp_rllib.stages.lea.rows import LLM_ENVIRONMENT, NEIGHBOUR, asks_neighbours, environments_of
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import write_atomic
from ialp_rllib.storage.parquet import read_parquet
from ialp_rllib.storage.tensors import read_arrays


class Part(NamedTuple):
    """Sequences of one file.

    Attributes:
        set: ``train``, ``valid`` or ``test``.
        item: the log of the set.
        windows: windows of these sequences.
    """

    set: str
    item: np.ndarray
    windows: Windows


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Ask the environments about the train users' log, and for the states of the others.

    Returns:
        By environment the distribution of rewards, what the augmented actions are, and the costs.
    """
    split = split_of(run)
    parts, facts = list(_parts(run, split)), dict[str, Any]()
    learnt_from = np.array(run.facts("environment").get("users", []), np.int64)
    for name in environments_of(run.settings.lea):
        stage = augmented_part(run, name)
        if not stage.up_to_date():
            began, cost = time.perf_counter(), Cost()
            _ask_all(run, stage.open(), name, parts, split, progress)
            found = {**_described(read_parts(stage.folder), split, learnt_from), **cost.facts()}
            stage.finish(found, time.perf_counter() - began)
        facts[name] = facts_of(stage)
    if asks_neighbours(run.settings.lea):
        stage = neighbour_part(run)
        if not stage.up_to_date():
            began, cost = time.perf_counter(), Cost()
            found = _ask_about_neighbours(run, stage.open(), [p for p in parts if p.set == "train"], split, progress)
            stage.finish({**found, **cost.facts()}, time.perf_counter() - began)
        facts[NEIGHBOUR] = facts_of(stage)
    return facts


Asking = Callable[[Environment, Part, Windows, np.random.Generator], Said]
"""Asks an environment about some windows of a part."""


def _ask_all(
    run: RunFolder, folder: Path, name: str, parts: list[Part], split: RankingSplit, progress: Progress
) -> None:
    """Write what an environment says, all about train users and states alone of the others."""
    settings = run.settings.lea.augment

    def ask(model: Environment, part: Part, some: Windows, rng: np.random.Generator) -> Said:
        if part.set == "train":
            return augment(model, part.item, some, settings, rng)
        row, states = states_of(model, part.item, some)
        nothing = np.full(len(row), np.nan, np.float32)
        return Said(row, states, nothing, np.full(len(row), -1), np.zeros_like(nothing), states[:, :0], nothing)

    _write_missing(run, folder, name, ask, parts, split, partial(progress.update, TITLES[name]))


def _ask_about_neighbours(
    run: RunFolder, folder: Path, parts: list[Part], split: RankingSplit, progress: Progress
) -> dict[str, Any]:
    """Write what the LLM's environment says about item kNN's actions; facts."""
    settings, size = run.settings.lea, len(split.train.item)
    actions, base = neighbour_actions(split, settings.offline.neighbours), np.full(size, np.nan, np.float32)
    for path in sorted(augmented_part(run, LLM_ENVIRONMENT).folder.glob("part-*.parquet")):
        table = read_parquet(path, columns=["set", "row"]).to_pandas()
        known = (table["set"] == "train").to_numpy()
        values = read_arrays(path.with_suffix(".safetensors"), ("indifferent",))["indifferent"]
        base[table["row"].to_numpy()[known]] = values[known]

    def ask(model: Environment, part: Part, some: Windows, rng: np.random.Generator) -> Said:
        said = rate_actions(model, part.item, some, actions, base)
        return said._replace(actions=np.where(said.action_rewards >= settings.augment.threshold, said.actions, -1))

    title = "LLM environment about neighbours"
    _write_missing(run, folder, LLM_ENVIRONMENT, ask, parts, split, partial(progress.update, title))
    found = read_neighbours(run, split)
    assert found.actions is not None and found.action_rewards is not None
    chosen = found.actions >= 0
    mean = float(found.action_rewards[chosen].mean()) if chosen.any() else None
    return {"actions": int(chosen.sum()), "action_reward": mean}


def _write_missing(
    run: RunFolder,
    folder: Path,
    name: str,
    ask: Asking,
    parts: list[Part],
    split: RankingSplit,
    shown: Callable[[int, int], None],
) -> None:
    """Write the parts that are not there; an environment is loaded if there are any."""
    model: Environment | None = None
    for number, part in enumerate(parts):
        path = folder / f"part-{number:05d}.parquet"
        if not path.is_file():
            model = learnt_environment(run, name) if model is None else model
            with threads_for(model):
                said = _ask(partial(ask, model, part), part, run, number)
            _write(path, part, said, split)
        shown(number + 1, len(parts))


def _parts(run: RunFolder, split: RankingSplit) -> Iterator[Part]:
    size, history = run.settings.lea.augment.part, run.settings.lea.environment.history
    train = split.train.offsets[:-1], split.train.offsets[1:]
    logs = {
        "train": (split.train.item, *train),
        "valid": (split.valid.item, *sequences_of(split.valid)),
        "test": (split.test.item, *sequences_of(split.test)),
    }
    for name, (item, start, end) in logs.items():
        for first in range(0, len(start), size):
            yield Part(name, item, windows(start[first : first + size], end[first : first + size], history))


def _ask(ask: Callable[[Windows, np.random.Generator], Said], part: Part, run: RunFolder, number: int) -> Said:
    """All about a part, in batches of windows of similar length."""
    settings = run.settings.lea.augment
    order = np.argsort(part.windows.stop - part.windows.first, kind="stable")  # saves padding
    batches = np.array_split(order, -(-len(order) // settings.batch))
    rng = np.random.default_rng([run.settings.seeds[0], 6, number])
    said = [ask(Windows(*(values[rows] for values in part.windows)), rng) for rows in batches]
    whole = Said(*(np.concatenate(values) for values in zip(*said, strict=True)))
    order = np.argsort(whole.row, kind="stable")
    return Said(*(values[order] for values in whole))


def _write(path: Path, part: Part, said: Said, split: RankingSplit) -> None:
    """The states first: where the table is, both are."""
    offsets = split.train.offsets
    if part.set == "train":
        user = split.train.user[np.searchsorted(offsets, said.row, side="right") - 1]
    else:
        cases = split.valid if part.set == "valid" else split.test
        start = sequences_of(cases)[0]
        of_sequence = cases.user[np.unique(cases.start, return_index=True)[1]]
        user = of_sequence[np.searchsorted(start, said.row, side="right") - 1]
    tensors = {"states": said.states, "action_states": said.action_states, "indifferent": said.indifferent}
    tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items() if values.size}
    write_atomic(path.with_suffix(".safetensors"), partial(save_file, tensors))
    none = said.actions < 0
    columns = {
        "set": np.full(len(said.row), part.set),
        "row": said.row,
        "user": user,
        "item": part.item[said.row],
        "reward": pa.array(said.rewards, mask=np.isnan(said.rewards)),
        "action": pa.array(said.actions, mask=none),
        "action_reward": pa.array(said.action_rewards, mask=none),
    }
    write_atomic(path, partial(pq.write_table, pa.table(columns, schema=AUGMENTED)))


def read_parts(folder: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """What an environment said: the table, and the states and action states ``(N, width) float16`` of its rows.

    Action states are those of the rows of the set ``train``, which come first.

    Raises:
        InputError: there is nothing, or a file is damaged.
    """
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise InputError(str(folder), "holds nothing that an environment said", "stage augment, finished")
    table = pa.concat_tables([read_parquet(path, AUGMENTED.names) for path in paths]).to_pandas()
    tensors = [read_arrays(path.with_suffix(".safetensors"), ("states",)) for path in paths]
    actions = [found["action_states"] for found in tensors if "action_states" in found]
    return table, np.concatenate([found["states"] for found in tensors]), np.concatenate(actions)


class Augmented(NamedTuple):
    """What an environment said, by row of the logs.

    Attributes:
        train: about ``split.train``.
        valid, test: states ``(M, width)`` about the logs of these cases.
    """

    train: EnvironmentData
    valid: np.ndarray
    test: np.ndarray


def read_augmented(folder: Path, split: RankingSplit) -> Augmented:
    """What an environment said, in the order of the split's logs; rows that nobody reads are 0."""
    table, states, action_states = read_parts(folder)
    sets, rows = table["set"].to_numpy(), table["row"].to_numpy()
    logs = {"train": split.train.item, "valid": split.valid.item, "test": split.test.item}
    by_set = {}
    for one, log in logs.items():
        by_set[one] = np.zeros((len(log), states.shape[1]), np.float16)
        by_set[one][rows[sets == one]] = states[sets == one]
    train, size = table[sets == "train"], len(split.train.item)
    place = train["row"].to_numpy()
    action = np.full(size, -1)
    action[place] = train["action"].fillna(-1).to_numpy(np.int64)
    values = {"reward": np.ones(size, np.float32), "action_reward": np.zeros(size, np.float32)}
    for column, array in values.items():
        array[place] = train[column].fillna(0.0).to_numpy(np.float32)
    after = np.zeros_like(by_set["train"])
    after[place] = action_states
    data = EnvironmentData(by_set["train"], values["reward"], action, values["action_reward"], after)
    return Augmented(data, by_set["valid"], by_set["test"])


def _described(
    found: tuple[pd.DataFrame, np.ndarray, np.ndarray], split: RankingSplit, learnt_from: np.ndarray
) -> dict[str, Any]:
    """Facts about rewards and actions; rewards of users that the environment was learnt from are told from others."""
    table = found[0]
    known = table[table["reward"].notna()]
    rewards, actions = known["reward"], table["action"].dropna().to_numpy(np.int64)
    own = known["user"].isin(learnt_from)
    bucket = popularity_buckets(split.train.popularity(split.n_items))
    logged, chosen = bucket[split.train.item], bucket[split.train.item[known["row"] + 1]]
    return {
        "rows": len(table),
        "reward_quantiles": _quantiles(rewards),
        "reward_quantiles_learnt_from": _quantiles(rewards[own]),
        "reward_quantiles_others": _quantiles(rewards[~own]),
        "reward_by_bucket": {b: float(rewards[chosen == i].mean()) for i, b in enumerate(BUCKETS) if i in chosen},
        "worse_than_indifferent": float((rewards < 0.5).mean()) if len(rewards) else None,
        "actions": len(actions),
        "action_reward": float(table["action_reward"].mean()) if len(actions) else None,
        "action_coverage": len(np.unique(actions)) / split.n_items,
        "action_buckets": {b: float((bucket[actions] == i).mean()) for i, b in enumerate(BUCKETS) if len(actions)},
        "logged_buckets": {b: float((logged == i).mean()) for i, b in enumerate(BUCKETS)},
    }


def _quantiles(values: pd.Series) -> list[float]:
    return [float(q) for q in np.quantile(values, [0.1, 0.5, 0.9])] if len(values) else []

"""The control `neighbour`: item kNN's actions in the place of the environment's, and what the environment says of them.

Rewards of these actions and states after them are the environment's, so that the row is leasr but for the choice of the
action. They are asked for in a part of stage ``augment`` of their own.
"""

from __future__ import annotations

import numpy as np

from ialp_rllib.agent.policy.neighbours import ItemKNN
from ialp_rllib.agent.policy.transitions import EnvironmentData
from ialp_rllib.catalogue.ranking_split import Cases, RankingSplit
from ialp_rllib.settings import NeighbourSettings, fingerprint
from ialp_rllib.stages.lea.model import augmented_part
from ialp_rllib.stages.lea.rows import LLM_ENVIRONMENT, NEIGHBOUR
from ialp_rllib.stages.lea.specs import AUGMENTED_FILES
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import Stage
from ialp_rllib.storage.parquet import read_parquet
from ialp_rllib.storage.tensors import read_arrays

_CASES = 1024  # whose scores are in memory at once


def neighbour_part(run: RunFolder) -> Stage:
    """The part of stage ``augment`` about the neighbours."""
    before = augmented_part(run, LLM_ENVIRONMENT).fingerprint
    print_ = fingerprint(NEIGHBOUR, before, run.settings.lea.offline.neighbours)
    return Stage(run.root / "augment" / NEIGHBOUR, f"augment {NEIGHBOUR}", print_, AUGMENTED_FILES)


def neighbour_actions(split: RankingSplit, settings: NeighbourSettings) -> np.ndarray:
    """The control without an LLM: item kNN's best item in each state that is neither seen nor logged next; -1: none."""
    train = split.train
    sequence = np.repeat(np.arange(len(train)), np.diff(train.offsets))
    stop = np.arange(len(train.item))
    inner = stop > train.offsets[sequence]
    cases = Cases(train.item, train.offsets[sequence][inner], stop[inner], train.user[sequence][inner])
    score = ItemKNN(train, split.n_items, settings)
    actions = np.full(len(train.item), -1)
    for first in range(0, len(cases), _CASES):
        some = cases.of(slice(first, first + _CASES))
        scores = score(some)
        case, item, _ = some.histories()
        scores[case, item] = -np.inf
        scores[np.arange(len(some)), some.target] = -np.inf
        best = scores.argmax(1)
        known = scores[np.arange(len(some)), best] > 0
        actions[some.stop - 1] = np.where(known, best, -1)
    return actions


def read_neighbours(run: RunFolder, split: RankingSplit) -> EnvironmentData:
    """The neighbours as actions, their rewards and the states after them, by row of the training log."""
    size, width = len(split.train.item), run.settings.lea.environment.width
    action, reward = np.full(size, -1), np.zeros(size, np.float32)
    after = np.zeros((size, width), np.float16)
    for path in sorted(neighbour_part(run).folder.glob("part-*.parquet")):
        table = read_parquet(path, columns=["row", "action", "action_reward"]).to_pandas()
        place = table["row"].to_numpy()
        action[place] = table["action"].fillna(-1).to_numpy(np.int64)
        reward[place] = table["action_reward"].fillna(0.0).to_numpy(np.float32)
        after[place] = read_arrays(path.with_suffix(".safetensors"), ("action_states",))["action_states"]
    return EnvironmentData(actions=action, action_rewards=reward, action_states=after)

"""A recommender of `ialp lea` as teacher of the agent's actor: `pretrain.source=lea`.

The encoders differ (the recommender's positions count from the first item, the agent's from the last, and its state
holds the mean of the session), so that weights cannot be taken over. The actor learns what the recommender thinks: the
cross-entropy with its softmax over the catalogue, in the states of the log.
"""

from __future__ import annotations

import numpy as np
import torch

from ialp_rllib.agent.policy.imitation import Lesson
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.offline import NetworkScorer
from ialp_rllib.agent.policy.offline_files import load_recommender
from ialp_rllib.agent.policy.sources import ModelTargets, observations
from ialp_rllib.catalogue.ranking_split import Cases, RankingSplit
from ialp_rllib.stages.lea.model import split_of
from ialp_rllib.stages.lea.recommend import part_stage
from ialp_rllib.stages.lea.rows import served_row
from ialp_rllib.stages.run import RunFolder

_ROWS = 1024  # states whose scores of all items are held at a time


def recommender_lesson(run: RunFolder, network: NetworkConfig, seed: int) -> Lesson:
    """The softmax of the row leasr after every item of the train users' log; that of validation users is held out.

    Raises:
        InputError: `lea.rows` has no leasr, or the recommender needs the LLM to rank (``le_to=both``).
    """
    saved = load_recommender(part_stage(run, served_row(run.settings.lea), seed).folder)
    split, scorer = split_of(run), NetworkScorer(saved.network)
    return Lesson("lea", _targets(scorer, _train_cases(split), network), _targets(scorer, split.valid, network))


def _train_cases(split: RankingSplit) -> Cases:
    """Every item of the training sequences but the first, with what was before it."""
    train = split.train
    sequence = np.repeat(np.arange(len(train)), np.diff(train.offsets))
    start, stop = train.offsets[sequence], np.arange(len(train.item))
    return Cases(train.item, start, stop, train.user[sequence]).of(np.flatnonzero(stop > start))


@torch.no_grad()
def _targets(scorer: NetworkScorer, cases: Cases, network: NetworkConfig) -> ModelTargets:
    parts = []
    for first in range(0, len(cases), _ROWS):
        some = cases.of(slice(first, first + _ROWS))
        scores = scorer(some)
        case, item, age = some.histories()
        recent = slice(None) if network.mask_recent < 0 else age < network.mask_recent
        scores[torch.from_numpy(case[recent]), torch.from_numpy(item[recent])] = -torch.inf
        session = np.full((len(some), network.history), network.n_items)
        held = age < network.history
        session[case[held], network.history - 1 - age[held]] = item[held]
        parts.append(ModelTargets.of(observations(session), scores, 1.0))
    return ModelTargets.join(parts)

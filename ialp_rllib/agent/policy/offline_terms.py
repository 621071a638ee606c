"""From a batch of transitions to the terms of the offline losses: one pass of the network, one of its target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.agent.policy.offline_losses import AugmentedTerms, QTerms
from ialp_rllib.agent.policy.sequential import SequentialRecommender
from ialp_rllib.agent.policy.transitions import Batch, EnvironmentData


class Terms(NamedTuple):
    """``log_prob`` ``(M,)`` of the logged actions; the others are None without. ``length_error`` ``(M,)`` is the error
    of the predicted number of items read, as a fraction of the window.
    """

    log_prob: Tensor
    q: QTerms | None
    augmented: AugmentedTerms | None
    length_error: Tensor | None = None


class _States(NamedTuple):
    """States ``(S, d)`` of a batch: for the softmax, for Q, and for Q after the augmented action (None without)."""

    softmax: Tensor
    q: Tensor
    after: Tensor | None


def loss_terms(
    model: SequentialRecommender,
    target: SequentialRecommender | None,
    batch: Batch,
    environment: EnvironmentData,
    rng: np.random.Generator,
) -> Terms:
    """The terms of a batch.

    The best next action of double Q-learning is that of ``model`` in its mode: with dropout, if it is in training mode.

    Args:
        model: the network that is trained.
        target: its slow copy in evaluation mode; None: no Q is learnt.
        environment: about the sequences of the batch; may be empty.
        rng: draws negative items.
    """
    table, learns = model.items(), batch.learns
    actions = None if environment.actions is None else torch.from_numpy(environment.actions[batch.place])
    passes = target is not None and model.settings.augmented_next == "pass"
    extra = actions if passes else None
    states = _states(model, batch, environment, table, extra)
    asked = batch.action[learns, None]
    augmented, which = None, learns[:0]  # of the S states, those with an augmented action that is learnt from
    if actions is not None:
        asked = torch.cat([asked, actions[learns, None].clamp(min=0)], 1)
    log_probs = model.log_probs_of(states.softmax[learns], asked, table)
    log_prob = log_probs[:, 0]
    if actions is not None:
        chosen = torch.nonzero(actions[learns] >= 0)[:, 0]
        which = learns[chosen]
        if len(which):
            augmented = AugmentedTerms(log_probs[chosen, 1])
    if target is None:
        return Terms(log_prob, None, augmented, _length_error(model, states.softmax[learns], batch))
    with torch.no_grad():
        slow = target.items()
        behind = _states(target, batch, environment, slow, extra)
        value = _double_q(model, target, states.q, behind.q, table, slow)  # (S,)
        later = value
        if states.after is not None and behind.after is not None:
            later = _double_q(model, target, states.after[which], behind.after[which], table, slow)
        elif actions is not None:
            later = value[which]
    q = _q_terms(model, states.q[learns], value, batch, environment, table, rng)
    if augmented is not None and actions is not None:
        own = model.values_of(states.q[which], actions[which, None], table)[:, 0]
        goal = _given(environment.action_rewards, batch, which)
        goal = goal + model.settings.gamma * (1 - batch.terminal[which]) * later
        augmented = augmented._replace(q=own, target=goal)
    return Terms(log_prob, q, augmented)


def _states(
    model: SequentialRecommender, batch: Batch, environment: EnvironmentData, table: Tensor, actions: Tensor | None
) -> _States:
    after = None
    if actions is None:
        plain = model.states(batch.inputs, table).flatten(0, 1)[batch.state]
    else:
        one_more = torch.full_like(batch.inputs, model.n_items)
        one_more.view(-1)[batch.state] = torch.where(actions < 0, model.n_items, actions)
        both = model.states_with_actions(batch.inputs, one_more, table)
        plain, after = (states.flatten(0, 1)[batch.state] for states in both)
    beside = _side(environment.states, batch)
    joined = model.joined(plain, beside)
    if after is not None:
        later = environment.states if environment.action_states is None else environment.action_states
        after = model.joined(after, _side(later, batch))
    return _States(joined if model.settings.le_to == "both" else plain, joined, after)


def _length_error(model: SequentialRecommender, states: Tensor, batch: Batch) -> Tensor | None:
    if model.count is None:
        return None
    read = batch.state[batch.learns] % batch.inputs.shape[1] + 1
    error: Tensor = model.count(states)[:, 0] - read / model.settings.history
    return error


def _side(states: np.ndarray | None, batch: Batch) -> Tensor | None:
    return None if states is None else torch.from_numpy(states[batch.place].astype(np.float32))


def _given(rewards: np.ndarray | None, batch: Batch, which: Tensor) -> Tensor:
    """Rewards of some of the S states; 1 without."""
    if rewards is None:
        return torch.ones(len(which))
    return torch.from_numpy(rewards[batch.place[which.numpy()]].astype(np.float32))


def _double_q(
    model: SequentialRecommender,
    target: SequentialRecommender,
    states: Tensor,
    target_states: Tensor,
    table: Tensor,
    target_table: Tensor,
) -> Tensor:
    """Q'(s, argmax Q(s, .)), ``(S,)``: of the target network one item per state is computed."""
    best = model.values(states, table).argmax(1, keepdim=True)
    return target.values_of(target_states, best, target_table)[:, 0]


def _q_terms(
    model: SequentialRecommender,
    states: Tensor,
    value: Tensor,
    batch: Batch,
    environment: EnvironmentData,
    table: Tensor,
    rng: np.random.Generator,
) -> QTerms:
    """Q and targets of the M transitions that are learnt from; ``value`` is of all S states."""
    settings, learns = model.settings, batch.learns
    action, later = batch.action[learns, None], value[batch.following[learns]]
    goal = _given(environment.rewards, batch, learns) + settings.gamma * (1 - batch.terminal[learns]) * later
    if settings.objective not in ("snqn", "sa2c"):
        return QTerms(model.values_of(states, action, table)[:, 0], goal)
    drawn = torch.from_numpy(rng.integers(model.n_items - 1, size=(len(learns), settings.negatives)))
    drawn += drawn >= action  # uniform over the other items
    q = model.values_of(states, torch.cat([action, drawn], 1), table)
    return QTerms(q[:, 0], goal, q[:, 1:], settings.gamma * value[learns])

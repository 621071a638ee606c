"""States in which a model is asked what it likes best: those of a log, and those of sessions that it plays itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.sources import ModelTargets, observations
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.users.planning import rollout
from ialp_rllib.users.sequence import SequenceModel, score_all, sessions_of
from ialp_rllib.users.simulator import World

_ROWS, _SCORES = 1024, 1 << 26  # states, and their scores of all items, that are held at a time


def _block(n_items: int) -> int:
    """States of a catalogue of ``n_items`` that are scored at a time."""
    return max(1, min(_ROWS, _SCORES // n_items))


@torch.no_grad()
def logged_targets(
    model: SequenceModel,
    catalogue: Catalogue,
    users: np.ndarray,
    network: NetworkConfig,
    temperature: float,
    rows: int,
    seed: int,
) -> ModelTargets:
    """Targets in the states before logged next items of ``users``, of at most ``rows`` of them, drawn at random."""
    session, _ = sessions_of(catalogue, users, max(model.window, network.history))
    session = session[np.random.default_rng([seed, 2]).permutation(len(session))[:rows]]
    table, parts = model.table(), []
    size = _block(model.n_items)
    for at in range(0, len(session), size):
        part = session[at : at + size]
        scores = score_all(model, torch.from_numpy(part[:, -model.window :].astype(np.int64)), table)
        parts.append(ModelTargets.of(observations(part[:, -network.history :]), scores, temperature))
    return ModelTargets.join(parts)


@torch.no_grad()
def played_targets(
    model: SequenceModel, world: World, network: NetworkConfig, temperature: float, rows: int, seed: int
) -> ModelTargets:
    """Targets in the states of sessions that the model plays greedily in ``world``, of at most ``rows`` states."""
    table, parts, episodes = model.table(), list[ModelTargets](), min(_block(model.n_items), rows, len(world.users))

    def act(env: Any, active: np.ndarray) -> np.ndarray:
        session = torch.from_numpy(env.sim.session[active][:, -model.window :].astype(np.int64))
        scores = score_all(model, session, table)
        parts.append(ModelTargets.of(torch.from_numpy(env.sim.observe()[active]), scores, temperature))
        items = np.zeros(len(active), np.int64)
        items[active] = scores.argmax(1).numpy()
        return items

    round_ = 0
    while sum(len(part) for part in parts) < rows:
        rollout(world, act, episodes, seed + round_, spread=True, history=network.history)
        round_ += 1
        if round_ * episodes >= len(world.users):  # every user has played once
            break
    whole = ModelTargets.join(parts)
    return whole.take(np.arange(len(whole))[:rows])


@torch.no_grad()
def own_targets(
    scores: Callable[[np.ndarray], np.ndarray],
    users: np.ndarray,
    starts: np.ndarray,
    n_items: int,
    network: NetworkConfig,
    steps: int,
    temperature: float,
    seed: int,
) -> ModelTargets:
    """Targets in the states of sessions that a model plays without a world: every second one greedily, others sampled.

    A session that would be greedy as one before it, from the same first item, is sampled.

    Args:
        scores: of all items, ``(B, I)``, for histories ``(B, L)`` padded with I; minus infinity for items that may not
            come next.
        users: ``(n,) int``, of the sessions.
        starts: ``(n,) int``, their first items.
        n_items: I.
        network: ``history`` is used.
        steps: states per session.
        temperature: of the targets, and of what is sampled.
        seed: of what is sampled.

    Returns:
        ``n * steps`` rows, session by session.
    """
    rng, count = torch.Generator().manual_seed(seed), len(starts)
    session = np.full((count, max(network.history, steps + 1)), n_items, np.int64)
    session[:, -1] = starts
    even, parts = np.arange(0, count, 2), []
    greedy = np.zeros(count, bool)
    greedy[even[np.unique(starts[even], return_index=True)[1]]] = True
    size = _block(n_items)
    for _ in range(steps):
        chosen = []
        for at in range(0, count, size):
            part = session[at : at + size]
            found = torch.from_numpy(scores(part))
            seen = observations(part[:, -network.history :], users[at : at + size])
            parts.append(ModelTargets.of(seen, found, temperature))
            drawn = torch.multinomial(torch.softmax(found / temperature, 1), 1, generator=rng)[:, 0]
            chosen.append(np.where(greedy[at : at + size], found.argmax(1).numpy(), drawn.numpy()))
        session = np.concatenate([session[:, 1:], np.concatenate(chosen)[:, None]], 1)
    order = np.arange(count * steps).reshape(steps, count).T.ravel()
    return ModelTargets.join(parts).take(order)

"""Reference policies in simulated environments: random, one list for everybody, and greedy on a user model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.sequence import SequenceModel, score_all
from ialp_rllib.users.simulator import World, spread_over_users

_FEW, _CANDIDATES = 64, 32  # of best_list: sessions that preselect items, and how many items

#: Items ``(N,)`` from the environment and the mask ``(N,) bool`` of the slots whose episode has not ended.
Policy = Callable[[UserVectorEnv, np.ndarray], np.ndarray]


def random_policy(world: World, episodes: int, seed: int) -> dict[str, float]:
    """Performance of the uniform random policy, see :func:`_summary`."""
    rng = np.random.default_rng([seed, 1])  # independent of the environment's generator
    return _summary(*rollout(world, lambda env, active: rng.integers(world.n_items, size=episodes), episodes, seed))


def greedy_on_model(world: World, model: SequenceModel, episodes: int, seed: int) -> dict[str, float]:
    """Performance of the policy that takes the item outside the session with the highest score, see :func:`_summary`.

    With the world's own model this is the best policy known for sequence worlds; it ignores that an item also changes
    later rewards. With another model it measures how well that model transfers to the world.
    """
    table = model.table()
    action = np.zeros(episodes, np.int64)

    def act(env: UserVectorEnv, active: np.ndarray) -> np.ndarray:
        recent = torch.from_numpy(env.sim.session[active][:, -world.memory :].astype(np.int64))
        action[active] = score_all(model, recent, table).argmax(1).numpy()  # the others keep their last action
        return action

    return _summary(*rollout(world, act, episodes, seed))


@torch.no_grad()
def best_list(model: SequenceModel, starts: np.ndarray, length: int) -> np.ndarray:
    """The best fixed list for everybody by a user model, built greedily.

    Each next item is the one that users like most on average, after their first item and the list so far. As in
    :func:`greedy_on_model`, the effect of an item on later rewards is ignored. Of a large catalogue the
    :data:`_CANDIDATES` best on the first :data:`_FEW` sessions are compared on all sessions: between items that are
    close to each other, few sessions decide by chance, and so does everything that follows.

    Args:
        model: gives the probability that a user likes an item after a session.
        starts: ``(n,) int``, first items of the sessions of n users, in random order.
        length: number of items; with the horizon + 1 of them, one that the session does not hold is always left.

    Returns:
        ``(min(length, I),) int64`` distinct items, in the order in which they are recommended.
    """
    table = model.table()
    session = torch.full((len(starts), model.window), model.n_items)
    session[:, -1] = torch.from_numpy(starts.astype(np.int64))
    chosen: list[int] = []
    for _ in range(min(length, model.n_items)):
        some = torch.sigmoid(score_all(model, session[:_FEW], table)).mean(0)
        some[chosen] = -1
        candidates = some.topk(min(_CANDIDATES, model.n_items - len(chosen))).indices
        parts = [torch.sigmoid(model(part, candidates[None], table)) for part in session.split(1024)]
        held = (session[:, :, None] == candidates).any(1)  # an item of the session gives nothing
        liked = torch.cat(parts).masked_fill(held, 0).double().mean(0)
        chosen.append(int(candidates[liked.argmax()]))
        session = torch.cat([session[:, 1:], torch.full_like(session[:, :1], chosen[-1])], 1)
    return np.array(chosen)


def rollout(
    world: World,
    policy: Policy,
    episodes: int,
    seed: int,
    *,
    spread: bool = False,
    history: int = 10,
    feedback: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate one episode per environment slot.

    Args:
        episodes: number of episodes, N.
        seed: seed of the environment.
        spread: whether all users have equally many episodes, give or take one (:func:`.simulator.spread_over_users`),
            as in an evaluation; otherwise they are drawn at random.
        history: number of items in the observation, L.
        feedback: number of reward levels in the observation.

    Returns:
        Returns ``(N,)`` and lengths ``(N,)`` of the episodes.
    """
    env = UserVectorEnv(world, episodes, history, autoreset="same_step", feedback=feedback)
    start = {"start": spread_over_users(episodes, len(world.users), seed)}
    env.reset(seed=seed, options=start if spread else None)
    active, returns, lengths = np.ones(episodes, bool), np.zeros(episodes), np.zeros(episodes)
    while active.any():
        _, reward, terminated, truncated, _ = env.step(policy(env, active))
        returns += reward * active
        lengths += active
        active &= ~(terminated | truncated)
    return returns, lengths


def _summary(returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Mean ``return`` and ``length``, ``reward_per_step``, and the number of ``episodes``."""
    return {
        "return": float(returns.mean()),
        "length": float(lengths.mean()),
        "reward_per_step": float(returns.sum() / lengths.sum()),
        "episodes": len(returns),
    }

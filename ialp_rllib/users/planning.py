"""What plain policies reach in a world: the uniform random one, and the best one that is known for a sequence world."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.sequence import SequenceModel, score_all
from ialp_rllib.users.simulator import World


def random_policy(world: World, episodes: int, seed: int) -> dict[str, float]:
    """The uniform random policy; see :func:`_play`."""
    rng = np.random.default_rng([seed, 1])  # not the environment's own stream
    return _play(world, episodes, seed, lambda session, there: rng.integers(world.n_items, size=episodes))


def greedy_on_model(world: World, model: SequenceModel, episodes: int, seed: int) -> dict[str, float]:
    """Take at every step the item outside the session that a reward model likes best; see :func:`_play`.

    On the world's own model that is the best policy known (it looks no step ahead: an item also changes what the user
    likes next). On another model it says what can be carried over from the one to the other.
    """
    table = model.table()
    action = np.zeros(episodes, np.int64)

    def act(session: np.ndarray, there: np.ndarray) -> np.ndarray:
        recent = torch.from_numpy(session[there][:, -world.memory :].astype(np.int64))
        action[there] = score_all(model, recent, table).argmax(1).numpy()  # who has left gets anything
        return action

    return _play(world, episodes, seed, act)


def _play(
    world: World, episodes: int, seed: int, act: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, float]:
    """Mean return and length, and reward per step, over one episode per place.

    Args:
        act: from the sessions ``(N, L)`` and who is still there ``(N,) bool`` to items ``(N,)``.
    """
    env = UserVectorEnv(world, episodes)
    env.reset(seed=seed)
    there, returns, lengths = np.ones(episodes, bool), np.zeros(episodes), np.zeros(episodes)
    while there.any():
        _, reward, terminated, truncated, _ = env.step(act(env.sim.session, there))
        returns += reward * there
        lengths += there
        there &= ~(terminated | truncated)
    return {
        "return": float(returns.mean()),
        "length": float(lengths.mean()),
        "reward_per_step": float(returns.sum() / lengths.sum()),
        "episodes": episodes,
    }

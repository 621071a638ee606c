"""The best policy that is known for a sequence world: greedy on a reward model, with the session masked."""

from __future__ import annotations

import numpy as np
import torch

from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.sequence import SequenceModel, score_all
from ialp_rllib.users.simulator import World


def greedy_on_model(world: World, model: SequenceModel, episodes: int, seed: int) -> dict[str, float]:
    """Play a world by taking at every step the item that a reward model likes best.

    On the world's own model that is the best policy known (it looks no step ahead: an item also changes what the user
    likes next). On another model it says what can be carried over from the one to the other.

    Returns:
        Mean return, length, and reward per step, over one episode per place.
    """
    env = UserVectorEnv(world, episodes)
    env.reset(seed=seed)
    table = model.table()
    there, returns, lengths = np.ones(episodes, bool), np.zeros(episodes), np.zeros(episodes)
    action = np.zeros(episodes, np.int64)
    while there.any():
        session = torch.from_numpy(env.sim.session[there][:, -world.memory :].astype(np.int64))
        action[there] = score_all(model, session, table).argmax(1).numpy()  # who has left gets anything
        _, reward, terminated, truncated, _ = env.step(action)
        returns += reward * there
        lengths += there
        there &= ~(terminated | truncated)
    return {
        "return": float(returns.mean()),
        "length": float(lengths.mean()),
        "reward_per_step": float(returns.sum() / lengths.sum()),
        "episodes": episodes,
    }

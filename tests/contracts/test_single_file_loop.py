"""A single-file actor-critic agent that trains on a gymnasium vector environment."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.users.env import UserVectorEnv
from tests.contracts.tiny import HISTORY, mean_return, random_return, tiny_world

gym.register(
    id="tests/Tiny-v0",
    vector_entry_point=lambda num_envs=1, **options: UserVectorEnv(tiny_world(), num_envs, HISTORY, **options),
)


class Agent(nn.Module):
    """Multi-hot session and one-hot last item -> logits and value."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.body = nn.Sequential(nn.Linear(2 * n_items, 64), nn.Tanh())
        self.actor, self.critic = nn.Linear(64, n_items), nn.Linear(64, 1)

    def forward(self, observation: np.ndarray, mask: np.ndarray) -> tuple[torch.distributions.Categorical, Tensor]:
        items = nn.functional.one_hot(torch.from_numpy(observation[:, 1:]).long(), self.n_items + 1)[..., :-1].float()
        hidden = self.body(torch.cat([items.amax(1), items[:, -1]], 1))
        logits = self.actor(hidden).masked_fill(~torch.from_numpy(mask), -1e9)
        return torch.distributions.Categorical(logits=logits), self.critic(hidden)[:, 0]


def train(updates: int, steps: int = 8, gamma: float = 0.5) -> Agent:
    options = {"autoreset": "same_step", "action_mask": True}
    envs = gym.make_vec("tests/Tiny-v0", num_envs=32, vectorization_mode="vector_entry_point", **options)
    agent = Agent(20)
    optimizer = torch.optim.Adam(agent.parameters(), lr=5e-3)
    observation, info = envs.reset(seed=0)
    for _ in range(updates):
        rows = []
        for _ in range(steps):
            policy, value = agent(observation, info["action_mask"])
            action = policy.sample()
            observation, reward, terminated, truncated, info = envs.step(action.numpy())
            done = terminated | truncated
            final_value = np.zeros(envs.num_envs, np.float32)  # 0 for terminated episodes
            if truncated.any():
                with torch.no_grad():
                    values = agent(info["final_obs"], info["action_mask"])[1].numpy()
                final_value[truncated] = values[truncated]
            rows.append((policy.log_prob(action), policy.entropy(), value, reward, done, final_value))
        with torch.no_grad():
            target = agent(observation, info["action_mask"])[1].numpy()
        loss = torch.zeros(())
        for log_prob, entropy, value, reward, done, final_value in reversed(rows):
            target = reward + gamma * np.where(done, final_value, target)
            advantage = torch.from_numpy(target).float() - value
            loss = loss + (-log_prob * advantage.detach() + 0.5 * advantage**2 - 0.02 * entropy).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return agent


def test_the_loop_learns() -> None:
    agent = train(200)
    learnt = mean_return(lambda observation, mask: int(agent(observation[None], mask[None])[0].sample()))
    assert learnt > 1.6 * random_return(masked=True)

"""The temperature of a policy that was learnt by imitation: what the validation world says, and how it is built in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ialp_rllib.agent.policy.candidates import Candidates
from ialp_rllib.agent.policy.exploration import sample
from ialp_rllib.agent.policy.networks import Policy
from ialp_rllib.agent.policy.shortlists import acting, choose
from ialp_rllib.users.planning import rollout
from ialp_rllib.users.simulator import World


@torch.no_grad()
def sampled_returns(
    policy: Policy,
    world: World,
    temperatures: Sequence[float],
    episodes: int,
    seed: int,
    candidates: Candidates | None = None,
) -> list[dict[str, float]]:
    """Mean return of the sampled policy at each temperature, with the same users and random numbers.

    Args:
        candidates: of a policy that acts on candidates, else None.

    Returns:
        ``temperature`` and ``return`` of each.
    """
    layout = {"history": policy.config.history, "feedback": policy.config.feedback}
    found = []
    for temperature in temperatures:

        def act(env: Any, active: np.ndarray, temperature: float = temperature) -> np.ndarray:
            observation = torch.from_numpy(env.sim.observe())
            if candidates is not None:
                what, share = acting(candidates, policy, observation), torch.full((len(observation),), temperature)
                drawn: np.ndarray = choose(candidates, what, "sampled", share).numpy()
                return drawn
            logits = policy(observation)
            items: np.ndarray = sample(torch.softmax(logits / temperature, -1)).numpy()
            return items

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            returns, _ = rollout(world, act, episodes, seed, spread=True, **layout)
        found.append({"temperature": float(temperature), "return": float(returns.mean())})
    return found


@torch.no_grad()
def greedy_return(
    policy: Policy, world: World, episodes: int, seed: int, candidates: Candidates | None = None
) -> float:
    """Mean return of the greedy policy; ``candidates``: of one that acts on candidates."""
    layout = {"history": policy.config.history, "feedback": policy.config.feedback}

    def act(env: Any, active: np.ndarray) -> np.ndarray:
        observation = torch.from_numpy(env.sim.observe())
        if candidates is not None:
            best: np.ndarray = choose(candidates, acting(candidates, policy, observation), "greedy").numpy()
            return best
        items: np.ndarray = policy(observation).argmax(1).numpy()
        return items

    returns, _ = rollout(world, act, episodes, seed, spread=True, **layout)
    return float(returns.mean())


def best_temperature(returns: Iterable[dict[str, float]]) -> float:
    """The temperature with the highest return of :func:`sampled_returns`; of equal ones the highest temperature."""
    return max(returns, key=lambda row: (row["return"], row["temperature"]))["temperature"]


@torch.no_grad()
def divide_logits(policy: Policy, temperature: float) -> None:
    """Divide the logits by ``temperature``, in place: the policy's softmax is then the tempered one.

    What the actor's last layer and its bias give is scaled. Logits of items that may not be recommended stay what they
    are.
    """
    last = policy.actor.hidden[-1]
    for parameter in (*last.parameters(), policy.actor.bias):
        parameter.div_(temperature)

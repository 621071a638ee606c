"""A small exported policy with random weights, and requests for it; nothing is trained and Ray is not loaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.serving.artifact import Artifact, read_artifact, write_artifact
from ialp_rllib.serving.folder import ServiceFolder, create_service
from ialp_rllib.serving.policy import ServingPolicy
from ialp_rllib.serving.service import Ask, Feedback, Service
from ialp_rllib.settings import AgentSettings, AlphaSettings, to_dict

N, L = 12, 5
ITEMS = tuple(f"item {index}" for index in range(N))
AGENT = AgentSettings(
    dim=8, heads=2, history=L, mask_recent=3, envs=4, batch=8, warmup=8, replay=500, actor_lr=1e-3, critic_lr=1e-3
)
NETWORK = NetworkConfig(n_items=N, history=L, dim=8, heads=2, mask_recent=3)
SERVING = {
    "alpha": to_dict(AlphaSettings(start=0.4, steps=1000)),
    "feedback": {"reward_low": 0.0, "reward_high": 5.0, "default_reward": 0.0},
}


def weights(seed: int, network: NetworkConfig = NETWORK, spread: float = 1.5) -> dict[str, Tensor]:
    """State dict of networks whose policy is far from uniform."""
    torch.manual_seed(seed)
    net = ActorCritic(network)
    with torch.no_grad():
        net.policy.actor.bias.normal_(0, spread)
    return net.state_dict()


def make_artifact(
    folder: Path,
    *,
    beta: bool = True,
    agent: AgentSettings = AGENT,
    level_range: tuple[float, float] | None = None,
    **serving: Any,
) -> Artifact:
    """An exported policy with 12 items; ``serving`` replaces defaults of the service's settings."""
    sizes = {name: getattr(agent, name) for name in ("history", "dim", "heads", "mask_recent", "feedback")}
    network = dataclasses.replace(NETWORK, **sizes)
    write_artifact(
        folder,
        method="aialp_ap",
        seed=0,
        agent=agent,
        serving={**SERVING, **serving},
        network=network,
        theta=weights(1, network),
        beta=weights(2, network) if beta else None,
        item_ids=ITEMS,
        item_texts={"genre": ["rock", "pop"] * (N // 2)},
        fingerprint="0123",
        level_range=level_range,
    )
    return read_artifact(folder)


def probabilities(policy: ServingPolicy, seen: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """Probability of each item as the first one that is shown, ``(B, I)``."""
    choices, count = policy.choices(seen, arms), policy.network.n_items
    return np.stack([choices.of(np.full(len(seen), item)) for item in range(count)], 1)


def make_service(root: Path) -> ServiceFolder:
    """A service that decides after few sessions and publishes after few updates."""
    arms = ["guard.sessions=5", "guard.canary=0.4", "guard.control=0.2", "alpha.start=0.1"]
    overrides = ["publish_updates=5", "checkpoint_seconds=0", *arms]
    return create_service(root / "service", make_artifact(root / "policy"), overrides)


def play(folder: ServiceFolder, sessions: int, seed: int = 0) -> int:
    """Users with few steps and random answers; returns the number of decisions."""
    service, rng = Service(folder, seed=seed, sync=False), np.random.default_rng(seed)
    count = 0
    for number in range(sessions):
        items, length = [ITEMS[int(rng.integers(N))]], int(rng.integers(1, 6))
        for step in range(length):
            (answer,) = service.decide([Ask(f"{seed}-{number}", tuple(items))])
            assert answer is not None
            ended = "left" if step == length - 1 else ""
            service.store([Feedback(answer.decision, float(rng.integers(6)), ended)] * int(rng.integers(1, 3)))
            items.append(answer.items[0])
            count += 1
    return count

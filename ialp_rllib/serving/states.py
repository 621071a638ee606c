"""States of a service: what the caller knows of a session, as the observations that the policy was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ialp_rllib.agent.policy.networks import NetworkConfig


class States:
    """Observations from ids, and the states that follow them.

    Args:
        network: sizes; ``feedback``: levels of the users' answers in the state; ``user_codes``: whether it knows users.
        item_ids, user_ids: ids by index.
        level_range: rewards of the lowest and the highest level, between which the others are spaced evenly.
    """

    def __init__(
        self,
        network: NetworkConfig,
        item_ids: Sequence[str],
        user_ids: Sequence[str] = (),
        level_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.network, self.item_ids, self.level_range = network, tuple(item_ids), level_range
        self.index = {name: number for number, name in enumerate(item_ids)}
        self.users = {name: number for number, name in enumerate(user_ids)}

    @property
    def knows_users(self) -> bool:
        """Whether the policy needs the user's id."""
        return self.network.user_codes is not None

    def known(self, items: Sequence[str], answers: Sequence[int] = ()) -> tuple[list[str], list[int], int]:
        """The items that are in the catalogue, with the levels of their answers, and the number of the others."""
        levels = list(answers) if self.network.feedback and len(answers) == len(items) else [0] * len(items)
        pairs = [(name, level) for name, level in zip(items, levels, strict=True) if name in self.index]
        return [name for name, _ in pairs], [level for _, level in pairs], len(items) - len(pairs)

    def observe(
        self, items: Sequence[Sequence[str]], answers: Sequence[Sequence[int]], users: Sequence[str]
    ) -> NDArray[np.int32]:
        """Observations ``(B, 1 + L) int32`` of B sessions: known items shown so far, answers' levels, users' ids."""
        length, pad = self.network.history, self.network.n_items
        out = np.full((len(items), 1 + length), pad, np.int32)
        out[:, 0] = [self.users.get(user, 0) for user in users] if self.knows_users else 0
        for row, (names, levels) in enumerate(zip(items, answers, strict=True)):
            last = names[-length:]
            if not last:
                continue
            entries = [self.index[name] for name in last]
            if self.network.feedback and levels:
                entries = [e + level * (pad + 1) for e, level in zip(entries, levels[-length:], strict=True)]
            out[row, 1 + length - len(entries) :] = entries
        return out

    def after(
        self, observation: NDArray[np.int32], item: NDArray[np.int64], reward: NDArray[np.float32]
    ) -> NDArray[np.int32]:
        """The observations after the items were shown and answered, ``(B, 1 + L) int32``."""
        following = np.empty_like(observation)
        following[:, 0] = observation[:, 0]
        following[:, 1:-1] = observation[:, 2:]
        following[:, -1] = item
        if self.network.feedback:
            following[:, -1] += ((self.network.n_items + 1) * self.levels(reward)).astype(np.int32)
        return following

    def levels(self, reward: NDArray[np.float32]) -> NDArray[np.int64]:
        """Levels of rewards, 1 to F, as :class:`ialp_rllib.users.simulator.Simulator` makes them."""
        low, high = self.level_range
        share = np.clip((reward - low) / (high - low), 0, 1)
        return 1 + np.rint(share * (self.network.feedback - 1)).astype(np.int64)

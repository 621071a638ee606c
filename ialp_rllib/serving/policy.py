"""The policy that a service acts with: pi_theta, pi_beta and alpha, in plain torch, with the exact propensities.

The propensity of an item is the probability of the whole act: after action masks, the mixture of pi_theta and pi_beta
(Eq. 14), the way to explore, and the fallback to pi_theta. What is sampled from is what is logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ialp_rllib.agent.policy.candidates import Candidates
from ialp_rllib.agent.policy.losses import mixture
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy, masked_items
from ialp_rllib.agent.policy.retrieval import Retrieval
from ialp_rllib.agent.policy.shortlists import acting
from ialp_rllib.errors import IalpError
from ialp_rllib.serving.choice import GREEDY, Choice, FromAll, OnCandidates
from ialp_rllib.settings import AgentSettings

CONTROL, CANARY, PROMOTED = 0, 1, 2
ARMS = ("control", "canary", "promoted")
"""Names of the arms, by their numbers."""
MISSING, NOT_FINITE, SLOW = "missing", "not finite", "slow"
"""Why pi_theta acts in the place of the mixture."""


class Version(NamedTuple):
    """A published mixture.

    Attributes:
        number: of the version; 0: pi_theta alone.
        alpha: weight of pi_beta, in [0, 1].
        beta: the learning policy; None: it is missing.
        items: its item embeddings, ``(I + 1, d)``, computed once.
        candidates: those of the mixture, where the policy acts on candidates: :meth:`ServingPolicy.prepared`.
    """

    number: int
    alpha: float
    beta: Policy | None = None
    items: Tensor | None = None
    candidates: Candidates | None = None


THETA_ALONE = Version(0, 0.0)


class Served(NamedTuple):
    """The versions that are served now, which change together: one reference."""

    promoted: Version = THETA_ALONE
    canary: Version | None = None


@dataclass(frozen=True)
class Acts:
    """What a batch of B states is shown: items ``(B, K) int64``, the first drawn first, -1 where a slate is shorter.

    ``probability``: ``(B, K) float64``, of each item at its position, given those before it; ``version``, ``alpha`` and
    ``fallback`` as of :class:`Choices`.
    """

    items: NDArray[np.int64]
    probability: NDArray[np.float64]
    version: NDArray[np.int64]
    alpha: NDArray[np.float64]
    fallback: list[str]


@dataclass(frozen=True)
class Choices:
    """What a batch of B states may be shown, with what probability.

    Attributes:
        parts: numbers of states, ``(n,) int64``, and how their items are drawn; each state is in one.
        version: ``(B,) int64``, of the policy that acts.
        alpha: ``(B,) float64``, weight of pi_beta; 0 for a fallback.
        fallback: B reasons why pi_theta acts in the place of the mixture; empty: it does not.
    """

    parts: list[tuple[NDArray[np.int64], Choice]]
    version: NDArray[np.int64]
    alpha: NDArray[np.float64]
    fallback: list[str]

    @torch.inference_mode()
    def of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability of one item per state as the first one that is shown, ``(B,)``."""
        found = np.zeros(len(items))
        for rows, choice in self.parts:
            found[rows] = choice.of(torch.from_numpy(items[rows])).numpy()
        return found

    @torch.inference_mode()
    def draw(self, slate: NDArray[np.int64], width: int, rng: torch.Generator) -> Acts:
        """Draw ``slate`` items for each state, ``(B,)``; ``width``: of the longest slate."""
        items = np.full((len(slate), width), -1, np.int64)
        probability = np.zeros((len(slate), width))
        for rows, choice in self.parts:
            for kept, k in ((np.flatnonzero(slate[rows] == 1), 1), (np.flatnonzero(slate[rows] > 1), width)):
                if len(kept):
                    part = choice if len(kept) == len(rows) else choice.only(torch.from_numpy(kept))
                    drawn, each = part.draw(k, rng)
                    at = np.ix_(rows[kept], np.arange(drawn.shape[1]))
                    items[at], probability[at] = drawn.numpy(), each.numpy()
        unused = (np.arange(width) >= slate[:, None]) | (probability <= 0)
        items[unused], probability[unused] = -1, 0.0
        return Acts(items, probability, self.version, self.alpha, self.fallback)


def load_version(number: int, alpha: float, weights: dict[str, Tensor], network: NetworkConfig) -> Version:
    """A version with the weights of ``policy.*``.

    Raises:
        ValueError: a weight is not finite.
        RuntimeError: they are those of another network.
    """
    own = {name.removeprefix("policy."): value for name, value in weights.items() if name.startswith("policy.")}
    if not all(bool(torch.isfinite(value).all()) for value in own.values()):
        raise ValueError(f"version {number} holds weights that are not finite")
    with torch.random.fork_rng(devices=[]):
        beta = Policy(network)
    beta.load_state_dict(own)
    beta.eval().requires_grad_(False)
    with torch.inference_mode():
        return Version(number, alpha, beta, beta.encoder.items())


class ServingPolicy:
    """Acts for batches of sessions of all arms; versions are exchanged while it runs.

    Args:
        theta: the frozen policy.
        agent: ``exploration`` and ``epsilon``.
        retrieval: where the candidates are from, of a policy that acts on some: each version has an index of its own.
        deadline: seconds that pi_beta may take for a batch; after a slower one pi_theta acts alone for a while.
        cool_down: length of that while, in seconds.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        theta: Policy,
        agent: AgentSettings,
        *,
        retrieval: Retrieval | None = None,
        deadline: float = float("inf"),
        cool_down: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.theta, self.network, self._agent = theta.eval().requires_grad_(False), theta.config, agent
        self._deadline, self._cool_down, self._clock = deadline, cool_down, clock
        self._slow_until = -float("inf")
        with torch.inference_mode():
            self._items = theta.encoder.items()
        self._retrieval, self._candidates = retrieval, None if retrieval is None else retrieval.candidates(theta)
        if self._candidates is not None:
            self._candidates.own.build()
        self.served = Served()

    def swap(self, served: Served) -> None:
        """Act with other versions from the next batch on."""
        self.served = served

    def prepared(self, version: Version) -> Version:
        """A version with the index of its learning policy, where the policy acts on candidates."""
        if self._retrieval is None or self._candidates is None or version.beta is None:
            return version
        found = self._retrieval.candidates(version.beta)
        found.freeze(self.theta, self._candidates.own)
        found.own.build()
        return version._replace(candidates=found)

    @property
    def width(self) -> int:
        """Numbers per state that deciding takes: items, or candidates."""
        return self.network.n_items if self._candidates is None else self._candidates.count

    @torch.inference_mode()
    def choices(self, observation: NDArray[np.int32], arms: NDArray[np.int64]) -> Choices:
        """What may be shown in states ``(B, 1 + L)``, with the number of each session's arm, ``(B,)``.

        Raises:
            IalpError: the probabilities of pi_theta are not finite.
        """
        served, seen, count = self.served, torch.from_numpy(observation), len(arms)
        version, alpha, fallback = np.zeros(count, np.int64), np.zeros(count), [""] * count
        theta = self._softmax(self.theta, seen, self._items) if self._candidates is None else None
        parts: list[tuple[NDArray[np.int64], Choice]] = []
        alone = arms == CONTROL
        for arm, one in ((PROMOTED, served.promoted), (CANARY, served.canary or served.promoted)):
            rows = np.flatnonzero(arms == arm)
            if not len(rows):
                continue
            version[rows] = one.number
            choice, reason = self._mixed(one, seen[rows], None if theta is None else theta[rows])
            if choice is None:
                alone[rows] = True
                for row in rows:
                    fallback[row] = reason
            else:
                alpha[rows] = one.alpha
                parts.append((rows, choice))
        if alone.any():
            rows = np.flatnonzero(alone)
            choice = self._alone(seen[rows], None if theta is None else theta[rows])
            if not choice.finite():
                raise IalpError("the probabilities of pi_theta are not finite: nothing can be served")
            parts.append((rows, choice))
        return Choices(parts, version, alpha, fallback)

    def act(
        self,
        observation: NDArray[np.int32],
        arms: NDArray[np.int64],
        slate: NDArray[np.int64],
        rng: torch.Generator,
    ) -> Acts:
        """Draw items for a batch of states.

        Args:
            observation: ``(B, 1 + L) int32``.
            arms: ``(B,) int64``, numbers of the sessions' arms.
            slate: ``(B,) int64``, number of items for each, without replacement.

        Raises:
            IalpError: the probabilities of pi_theta are not finite.
        """
        width = min(int(slate.max(initial=1)), self.network.n_items)
        return self.choices(observation, arms).draw(slate, width, rng)

    def _alone(self, seen: Tensor, theta: Tensor | None) -> Choice:
        """pi_theta; ``theta``: its probabilities, where all items have one."""
        if theta is not None:
            return self._explored(seen, theta)
        assert self._candidates is not None
        return OnCandidates(self._candidates, acting(self._candidates, self.theta, seen), self._greedy)

    def _mixed(self, version: Version, seen: Tensor, theta: Tensor | None) -> tuple[Choice | None, str]:
        """The mixture, or None and why pi_theta acts alone; without a reason: it is meant to."""
        if version.number == 0:
            return None, ""
        if version.beta is None or version.items is None:
            return None, MISSING
        began = self._clock()
        if began < self._slow_until:
            return None, SLOW
        alpha, found = torch.tensor(version.alpha), version.candidates
        choice: Choice
        if theta is None:
            if found is None:
                return None, MISSING
            choice = OnCandidates(found, acting(found, version.beta, seen, self.theta, alpha), self._greedy)
        else:
            choice = self._explored(seen, mixture(theta, self._softmax(version.beta, seen, version.items), alpha))
        if not choice.finite():
            return None, NOT_FINITE
        if self._clock() - began > self._deadline:
            self._slow_until = self._clock() + self._cool_down
        return choice, ""

    def _explored(self, seen: Tensor, probs: Tensor) -> FromAll:
        """Probabilities of all items, ``(B, I + 1)``, without masked ones, and the way to explore."""
        masked = masked_items(seen, self.network.mask_recent, self.network.n_items)
        allowed = probs.scatter(1, masked, 0.0)[:, :-1].double()
        return FromAll(allowed, self._agent.exploration, self._agent.epsilon)

    @property
    def _greedy(self) -> bool:
        return self._agent.exploration == GREEDY

    @staticmethod
    def _softmax(policy: Policy, seen: Tensor, items: Tensor) -> Tensor:
        return torch.softmax(policy.logits(seen, policy.encoder(seen, items), items), -1)

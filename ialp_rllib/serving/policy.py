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
from ialp_rllib.agent.policy.exploration import act_probabilities
from ialp_rllib.agent.policy.losses import mixture
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy, masked_items
from ialp_rllib.agent.policy.retrieval import Retrieval, probabilities
from ialp_rllib.errors import IalpError
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
class Probabilities:
    """What a batch of B states would be shown, with what probability.

    Attributes:
        probs: ``(B, I) float64``, rows sum to one; 0 where no item may be recommended.
        version: ``(B,) int64``, of the policy that acts.
        alpha: ``(B,) float64``, weight of pi_beta; 0 for a fallback.
        fallback: B reasons why pi_theta acts in the place of the mixture; empty: it does not.
    """

    probs: Tensor
    version: NDArray[np.int64]
    alpha: NDArray[np.float64]
    fallback: list[str]


@dataclass(frozen=True)
class Acts:
    """What a batch of B states is shown: items ``(B, K) int64``, the first drawn first, -1 where a slate is shorter.

    ``probability``: ``(B, K) float64``, of each item at its position, given those before it; ``version``, ``alpha`` and
    ``fallback`` as of :class:`Probabilities`.
    """

    items: NDArray[np.int64]
    probability: NDArray[np.float64]
    version: NDArray[np.int64]
    alpha: NDArray[np.float64]
    fallback: list[str]


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

    @torch.inference_mode()
    def probabilities(self, observation: NDArray[np.int32], arms: NDArray[np.int64]) -> Probabilities:
        """Probability of every item, ``(B, 1 + L)`` observations and the number of each session's arm, ``(B,)``.

        Raises:
            IalpError: the probabilities of pi_theta are not finite.
        """
        served, seen = self.served, torch.from_numpy(observation)
        if self._candidates is None:
            probs = self._softmax(self.theta, seen, self._items)
        else:
            probs = probabilities(self._candidates, self.theta, seen)
        if not bool(torch.isfinite(probs).all()):
            raise IalpError("the probabilities of pi_theta are not finite: nothing can be served")
        count = len(arms)
        version, alpha, fallback = np.zeros(count, np.int64), np.zeros(count), [""] * count
        for arm, one in ((PROMOTED, served.promoted), (CANARY, served.canary or served.promoted)):
            rows = np.flatnonzero(arms == arm)
            if not len(rows) or one.number == 0:
                continue
            version[rows] = one.number
            mixed, reason = self._mixed(one, seen[rows], probs[rows])
            if mixed is None:
                for row in rows:
                    fallback[row] = reason
            else:
                probs[rows], alpha[rows] = mixed, one.alpha
        masked = masked_items(seen, self.network.mask_recent, self.network.n_items)
        allowed = probs.scatter_(1, masked, 0.0)[:, :-1].double()
        explored = act_probabilities(allowed, self._agent.exploration, self._agent.epsilon)
        return Probabilities(explored, version, alpha, fallback)

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
        known = self.probabilities(observation, arms)
        width = min(int(slate.max(initial=1)), self.network.n_items)
        items = np.full((len(arms), width), -1, np.int64)
        probability = np.zeros((len(arms), width))
        for rows, k in ((np.flatnonzero(slate == 1), 1), (np.flatnonzero(slate > 1), width)):
            if len(rows):
                drawn, each = draw(known.probs[rows], k, rng)
                items[rows, :k], probability[rows, :k] = drawn.numpy(), each.numpy()
        unused = (np.arange(width) >= slate[:, None]) | (probability <= 0)
        items[unused], probability[unused] = -1, 0.0
        return Acts(items, probability, known.version, known.alpha, known.fallback)

    def _mixed(self, version: Version, seen: Tensor, theta: Tensor) -> tuple[Tensor | None, str]:
        """Probabilities of the mixture, or None and why pi_theta acts alone."""
        if version.beta is None or version.items is None:
            return None, MISSING
        began = self._clock()
        if began < self._slow_until:
            return None, SLOW
        alpha = torch.tensor(version.alpha)
        if version.candidates is None:
            mixed = mixture(theta, self._softmax(version.beta, seen, version.items), alpha)
        else:
            mixed = probabilities(version.candidates, version.beta, seen, self.theta, alpha)
        if not bool(torch.isfinite(mixed).all()):
            return None, NOT_FINITE
        if self._clock() - began > self._deadline:
            self._slow_until = self._clock() + self._cool_down
        return mixed, ""

    @staticmethod
    def _softmax(policy: Policy, seen: Tensor, items: Tensor) -> Tensor:
        return torch.softmax(policy.logits(seen, policy.encoder(seen, items), items), -1)


def draw(probs: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw k items per row one after the other, without replacement, and the probability of each at its position.

    One item is drawn by the inverse CDF, several as the first k of an exponential race (Kool et al. 2019).

    Args:
        probs: ``(B, I) float64``, rows sum to one, or are 0.

    Returns:
        items ``(B, k) int64`` and probabilities ``(B, k) float64``, of at most I columns; 0 where no item is left.
    """
    k = min(k, probs.shape[1])
    if k == 1:
        cumulative = probs.cumsum(-1)
        drawn = (1 - torch.rand(len(probs), 1, dtype=probs.dtype, generator=rng)) * cumulative[:, -1:]
        items = torch.searchsorted(cumulative, drawn).clamp(max=probs.shape[1] - 1)
        return items, probs.gather(1, items)
    race = torch.empty_like(probs).exponential_(generator=rng)
    items = (probs / race).topk(k, -1).indices
    each = probs.gather(1, items)
    # What was left before each draw, summed from the smallest part: 1 minus a sum would cancel.
    rest = probs.scatter(1, items, 0.0).sum(1, keepdim=True)
    left = rest + each.flip(1).cumsum(1).flip(1)
    return items, torch.where(each > 0, each / left.clamp(min=torch.finfo(probs.dtype).tiny), each)

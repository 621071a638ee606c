"""The policy that a service acts with: pi_theta, pi_beta and alpha, in plain torch, with the exact propensities.

The propensity of an item is the probability of the whole act: after action masks, the mixture of pi_theta and pi_beta
(Eq. 14), the way to explore, and the fallback to pi_theta. What is sampled from is what is logged. Where one of the two
is drawn with the session (``alpha.by=session``), the probabilities by both are logged: :mod:`.sessions` makes of them
the propensity given what the session has shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
from ialp_rllib.serving.acts import Acts, Choices
from ialp_rllib.serving.choice import GREEDY, Choice, Drawn, FromAll, OnCandidates
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

Draws = Callable[[str, int, float], bool]
"""Whether pi_beta acts in a session, by its id, the version and alpha: :func:`.draws.drawn`."""


class Served(NamedTuple):
    """The versions that are served now, which change together: one reference."""

    promoted: Version = THETA_ALONE
    canary: Version | None = None


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
        draws: which policy acts in a session; None: they are mixed anew at each step.
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
        draws: Draws | None = None,
        deadline: float = float("inf"),
        cool_down: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.theta, self.network, self._agent = theta.eval().requires_grad_(False), theta.config, agent
        self._deadline, self._cool_down, self._clock = deadline, cool_down, clock
        self._slow_until, self._draws = -float("inf"), draws
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
    def choices(self, observation: NDArray[np.int32], arms: NDArray[np.int64], sessions: Sequence[str] = ()) -> Choices:
        """What may be shown in states ``(B, 1 + L)``, with the number of each session's arm, ``(B,)``, and its id.

        Raises:
            IalpError: the probabilities of pi_theta are not finite.
        """
        served, seen, count = self.served, torch.from_numpy(observation), len(arms)
        version, alpha, fallback = np.zeros(count, np.int64), np.zeros(count), [""] * count
        names = np.array(sessions or [""] * count, object)
        theta = self._softmax(self.theta, seen, self._items) if self._candidates is None else None
        parts: list[tuple[NDArray[np.int64], Choice]] = []
        alone = arms == CONTROL
        for arm, one in ((PROMOTED, served.promoted), (CANARY, served.canary or served.promoted)):
            rows = np.flatnonzero(arms == arm)
            if not len(rows):
                continue
            version[rows] = one.number
            choice, reason = self._mixed(one, seen[rows], None if theta is None else theta[rows], names[rows])
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
        sessions: Sequence[str] = (),
    ) -> Acts:
        """Draw items for a batch of states.

        Args:
            observation: ``(B, 1 + L) int32``.
            arms: ``(B,) int64``, numbers of the sessions' arms.
            slate: ``(B,) int64``, number of items for each, without replacement.
            sessions: B ids of sessions, which only draws by session need.

        Raises:
            IalpError: the probabilities of pi_theta are not finite.
        """
        width = min(int(slate.max(initial=1)), self.network.n_items)
        return self.choices(observation, arms, sessions).draw(slate, width, rng)

    def _alone(self, seen: Tensor, theta: Tensor | None) -> Choice:
        """pi_theta; ``theta``: its probabilities, where all items have one."""
        if theta is not None:
            return self._explored(seen, theta)
        assert self._candidates is not None
        return OnCandidates(self._candidates, acting(self._candidates, self.theta, seen), self._greedy)

    def _mixed(
        self, version: Version, seen: Tensor, theta: Tensor | None, sessions: NDArray[np.object_]
    ) -> tuple[Choice | None, str]:
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
            beta = self._softmax(version.beta, seen, version.items)
            if self._draws is None:
                choice = self._explored(seen, mixture(theta, beta, alpha))
            else:
                drawn = torch.tensor([self._draws(name, version.number, version.alpha) for name in sessions])
                choice = Drawn(self._allowed(seen, theta), self._allowed(seen, beta), drawn)
        if not choice.finite():
            return None, NOT_FINITE
        if self._clock() - began > self._deadline:
            self._slow_until = self._clock() + self._cool_down
        return choice, ""

    def _explored(self, seen: Tensor, probs: Tensor) -> FromAll:
        """Probabilities of all items, ``(B, I + 1)``, without masked ones, and the way to explore."""
        return FromAll(self._allowed(seen, probs), self._agent.exploration, self._agent.epsilon)

    def _allowed(self, seen: Tensor, probs: Tensor) -> Tensor:
        """Probabilities of all items, ``(B, I + 1)``, as weights ``(B, I)``, 0 where an item may not be shown."""
        masked = masked_items(seen, self.network.mask_recent, self.network.n_items)
        return probs.scatter(1, masked, 0.0)[:, :-1].double()

    @property
    def _greedy(self) -> bool:
        return self._agent.exploration == GREEDY

    @staticmethod
    def _softmax(policy: Policy, seen: Tensor, items: Tensor) -> Tensor:
        return torch.softmax(policy.logits(seen, policy.encoder(seen, items), items), -1)

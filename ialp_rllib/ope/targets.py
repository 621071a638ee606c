"""What a policy must tell to be evaluated, and saved policies that do.

Everything that is evaluated is a mixture of components: over decisions (Eq. 14), where the mixture itself is the one
component, or over sessions (``adapt.alpha.by: session``), where one component is drawn for a whole session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ialp_rllib.agent.policy.acting import Mixture
from ialp_rllib.agent.policy.exploration import act_probabilities
from ialp_rllib.agent.policy.losses import mixture
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy, masked_items
from ialp_rllib.agent.policy.saved import SavedPolicy, load_policy
from ialp_rllib.errors import InputError

_ENTRIES = 1 << 20  # probabilities of a block of decisions: 4 MB, whatever the size of the catalogue


class Component(Protocol):
    """A policy that draws each decision by itself."""

    def probabilities(self, observation: Tensor) -> Tensor:
        """Probability of each item, ``(B, 1 + L) int64`` -> ``(B, I) float32``, 0 where an item is masked.

        Observations: :mod:`ialp_rllib.agent.policy.networks`. It is called with blocks of rows, so that B x I numbers
        fit into memory.
        """


@dataclass(frozen=True)
class Target:
    """A policy that is evaluated.

    Attributes:
        name: for messages and pages.
        network: of its observations; of a policy without networks only their sizes matter.
        item_ids: ``(I,)`` ids of its items.
        user_ids: ``(U,)`` ids of its users, where its state knows them by attributes.
        components: weights, which sum to 1, and policies; several: one is drawn per session.
        encoder: a network whose states and item embeddings a critic may start from; None: there is none.
    """

    name: str
    network: NetworkConfig
    item_ids: NDArray[np.object_]
    user_ids: NDArray[np.object_]
    components: Sequence[tuple[float, Component]]
    encoder: Policy | None = None


@dataclass(frozen=True)
class Acting:
    """A module of :mod:`ialp_rllib.agent.policy.acting` as a component."""

    module: Callable[[Tensor], tuple[Tensor, Tensor]]
    network: NetworkConfig

    @torch.no_grad()
    def probabilities(self, observation: Tensor) -> Tensor:
        """See :class:`Component`."""
        probs = self.module(observation)[1]
        masked = masked_items(observation, self.network.mask_recent, self.network.n_items)
        return probs.scatter(1, masked, 0.0)[:, :-1]


class Exploration(NamedTuple):
    """How acts are drawn from probabilities, see :func:`ialp_rllib.agent.policy.exploration.act_probabilities`."""

    mode: str = "categorical"
    epsilon: float = 0.0


SAMPLED = Exploration()


@dataclass(frozen=True)
class Mixed:
    """An actor, or two of them mixed anew for each decision (Eq. 14), as a component.

    Attributes:
        policy: the actor; of a mixture beta, which learns.
        theta: of a mixture the other one; None: the actor alone.
        alpha: weight of ``policy`` in the mixture.
        exploration: how acts are drawn from it.
    """

    policy: Policy
    theta: Policy | None = None
    alpha: float = 1.0
    exploration: Exploration = SAMPLED

    @torch.no_grad()
    def probabilities(self, observation: Tensor) -> Tensor:
        """See :class:`Component`."""
        probs = torch.softmax(self.policy(observation), -1)
        if self.theta is not None:
            probs = mixture(torch.softmax(self.theta(observation), -1), probs, self.alpha)
        probs = probs[:, :-1]
        if self.exploration.mode == SAMPLED.mode:
            return probs
        return act_probabilities(probs, *self.exploration)


class Ids(NamedTuple):
    """What a policy's observations are made of: sizes of the networks, ids of items and users."""

    network: NetworkConfig
    items: NDArray[np.object_]
    users: NDArray[np.object_]


def actor_target(name: str, ids: Ids, policy: Policy, exploration: Exploration = SAMPLED) -> Target:
    """An actor as a target; ``exploration``: how it acts."""
    return Target(name, *ids, [(1.0, Mixed(policy, exploration=exploration))], policy)


def mixture_target(
    name: str,
    ids: Ids,
    theta: Policy,
    beta: Policy,
    alpha: float,
    by: str = "step",
    exploration: Exploration = SAMPLED,
) -> tuple[Target, Target | None]:
    """A mixture of two actors as a target, and beta alone, to which the hand-over leads; None if it is that already.

    Args:
        alpha: weight of ``beta``.
        by: ``step``: they are mixed anew for each decision; ``session``: one is drawn for a whole session.
        exploration: how acts are drawn from the mixture.
    """
    parts: list[tuple[float, Component]] = [(1.0, Mixed(beta, theta, alpha, exploration))]
    if by == "session":
        one, two = (Mixed(policy, exploration=exploration) for policy in (theta, beta))
        parts = [(share, part) for share, part in ((1 - alpha, one), (alpha, two)) if share > 0]
    alone = actor_target(f"{name}, its learning part alone", ids, beta, exploration)
    return Target(name, *ids, parts, beta), alone if alpha < 1 else None


def saved_target(folder: Path, alpha: float | None = None, by: str = "step") -> tuple[Target, Target | None]:
    """The policy in ``folder`` (:mod:`ialp_rllib.agent.policy.saved`), and of a mixture its learning part alone.

    Args:
        alpha: another weight of the learning part of a mixture; None: its own.
        by: see :func:`mixture_target`.

    Raises:
        InputError: no such folder, the policy cannot be read, or it is no mixture and ``alpha`` is given.
    """
    saved = load_policy(folder)
    acting, ids = saved.acting, Ids(saved.network, saved.item_ids, saved.user_ids)
    if isinstance(acting, Mixture):
        weight = float(acting.alpha) if alpha is None else alpha
        return mixture_target(str(folder), ids, acting.theta, acting.policy, weight, by)
    if alpha is not None:
        raise InputError("alpha", f"is given, but {folder} is no mixture", "the folder of a mixture, as of aialp_ap")
    encoder = actor_of(saved)
    return Target(str(folder), *ids, [(1.0, Acting(acting, saved.network))], encoder), None


def actor_of(saved: SavedPolicy) -> Policy | None:
    """The actor of a saved policy; None if it has none."""
    own = getattr(saved.acting, "policy", None)
    return own if isinstance(own, Policy) else None


@torch.no_grad()
def probabilities_and_means(
    component: Component, observation: Tensor, action: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """Probabilities of the logged items, and what features of items are on average, in blocks of decisions.

    Args:
        observation: ``(N, 1 + L) int64``.
        action: ``(N,) int64``; I: an item that the policy does not know, of probability 0.
        features: ``(I, D) float32``.

    Returns:
        ``(N,) float64``, and ``(N, D) float32``: :math:`\\sum_a \\pi(a|s) f(a)`.
    """
    n_items = len(features)
    probability, means = torch.zeros(len(action), dtype=torch.float64), torch.empty(len(action), features.shape[1])
    size = max(1, _ENTRIES // n_items)
    for start in range(0, len(action), size):
        rows = slice(start, start + size)
        probs = component.probabilities(observation[rows])
        torch.mm(probs, features, out=means[rows])
        known = action[rows].clamp(max=n_items - 1)[:, None]
        found = probs.gather(1, known)[:, 0].double()
        probability[rows] = torch.where(action[rows] < n_items, found, torch.zeros_like(found))
    return probability, means

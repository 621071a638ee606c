r"""Fitted Q evaluation: the critic of a target policy, learnt from logged sessions, cross-fitted by user.

The critic is the house's, a head over item embeddings and a state value, on states of the encoder. Encoder and item
embeddings are those of the policy under evaluation and stay as they are (as in
:mod:`ialp_rllib.agent.policy.evaluation`): all states are encoded once. Beside its state a critic reads what the log
knows of the session and the policy may not: the position, and the rewards so far, which tell who is about to leave.
Since the head is linear in the embeddings,

.. math:: \mathrm{E}_{a \sim \pi} Q(s, a) = h(s) \cdot \textstyle\sum_a \pi(a|s)\,e_a + V(s)

needs one pass of the policy over all items for each logged state (:func:`.targets.probabilities_and_means`, in blocks),
and no further one in training: the cost of a fit does not depend on the size of the catalogue. One more feature of each
item is its mean logged reward among the users that a fold learns from, shrunk to the mean of all.

Targets are Retrace(lambda) (Munos et al. 2016), recomputed before each round of updates: with a policy near to the
logging one they are returns of whole sessions, which need few rounds; with another one single steps. All rounds have as
many updates, which read a short log several times, and of a long one as many sessions, drawn anew: how often targets
are recomputed, by which values come to those of the policy, does not depend on how long the log is. A time limit ends a
session, as in the returns that are estimated. The values of a session are those of the fold that has not learnt from
its user; a fit ends when the error of held-out users among the others no longer falls.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ialp_rllib.agent.policy.networks import Encoder
from ialp_rllib.ope.sessions import Sessions
from ialp_rllib.ope.targets import Target
from ialp_rllib.settings import FQESettings

log = logging.getLogger(__name__)
Floats = NDArray[np.float64]
_BLOCK = 4096  # states that are encoded together
_HELD_OUT = 10  # one of so many users, to stop by
_SHRINK = 10.0  # decisions with the mean reward that each item's own are averaged with
_CLIP = 10.0  # of the gradient's norm


class Values(nn.Module):
    """A critic whose values are linear in features of items.

    Args:
        width: of the states.
        dim: width of the hidden layers.
        features: D.
    """

    def __init__(self, width: int, dim: int, features: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, features))
        self.value = nn.Sequential(nn.Linear(width, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, 1))

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, W)`` states -> weights of the features, ``(B, D)``, and values of the states, ``(B,)``."""
        return self.head(state), self.value(state)[:, 0]


@dataclass(frozen=True)
class Decisions:
    """What a fit needs of the N logged decisions, in the order of the sessions.

    Attributes:
        state: ``(N, W) float32``, see :func:`states`.
        served: ``(N, D)`` features of the served items.
        means: ``(N, D)`` mean features under the target.
        ratio: ``(N,)``, target over logged probability.
    """

    state: Tensor
    served: Tensor
    means: Tensor
    ratio: Floats


@torch.no_grad()
def states(sessions: Sessions, observation: Tensor, target: Target, seed: int) -> Tensor:
    """Encoded observations, position and rewards so far of each decision, standardised, ``(N, W) float32``.

    A policy without networks has random weights in the place of its encoder's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(target.network) if target.encoder is None else target.encoder.encoder
    items = encoder.items()
    encoded = torch.cat([encoder(part, items) for part in torch.split(observation, _BLOCK)])
    reward, position = sessions.reward, sessions.position
    total = np.cumsum(reward)
    so_far = total - reward - np.repeat(total[sessions.first[:-1]] - reward[sessions.first[:-1]], sessions.lengths)
    last = np.where(position > 0, np.append(0.0, reward[:-1]), 0.0)
    before = np.where(position > 1, np.append([0.0, 0.0], reward)[: len(reward)], 0.0)
    known = np.stack([position, position == 0, so_far, so_far / np.maximum(position, 1), last, before], 1)
    whole = torch.cat([encoded, torch.from_numpy(known).float()], 1)
    return (whole - whole.mean(0)) / whole.std(0).clamp(min=1e-6)


def folds(user: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Fold of each session, ``(S,)``: users at random, sessions of a user together."""
    users = int(user.max(initial=-1)) + 1
    order = np.random.default_rng([seed, 5]).permutation(users)
    fold: NDArray[np.int64] = (order % min(count, max(users, 2)))[user]
    return fold


def item_features(target: Target, seed: int) -> Tensor:
    """Embeddings of the items that values are linear in, ``(I, d) float32``.

    Those of the policy's networks, scaled to a mean square of 1; of a policy without networks random ones.
    """
    network = target.network
    if target.encoder is None:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(network.n_items, network.dim, generator=generator)
    with torch.no_grad():
        items = target.encoder.encoder.items()[:-1]
    return items / items.square().mean().sqrt().clamp(min=1e-6)


def mean_rewards(sessions: Sessions, action: Tensor, n_items: int, fold: NDArray[np.int64]) -> Tensor:
    """Shrunk mean reward of each item without the sessions of each fold, standardised, ``(I, folds) float32``."""
    reward = (sessions.reward - sessions.reward.mean()) / max(float(sessions.reward.std()), 1e-9)
    rows = fold[sessions.session]
    columns = []
    for number in range(int(fold.max()) + 1):
        kept = (rows != number) & (action.numpy() < n_items)
        total = np.bincount(action.numpy()[kept], reward[kept], n_items)
        columns.append(total / (np.bincount(action.numpy()[kept], minlength=n_items) + _SHRINK))
    return torch.from_numpy(np.stack(columns, 1)).float()


def fit_values(
    sessions: Sessions, decisions: Decisions, dim: int, fold: NDArray[np.int64], settings: FQESettings, seed: int
) -> tuple[Floats, Floats]:
    """Q of the served items and V of the target, by critics that have not learnt from the session's user.

    Args:
        decisions: features hold the embeddings, then one mean reward for each fold.
        dim: width of the critic's hidden layers.
        fold: ``(S,)``.
        seed: random seed of weights and batches.

    Returns:
        ``(N,)`` each.
    """
    q, v = np.zeros(len(decisions.ratio)), np.zeros(len(decisions.ratio))
    row_fold, count = fold[sessions.session], int(fold.max()) + 1
    plain = decisions.served.shape[1] - count
    for number in range(count):
        columns = [*range(plain), plain + number]
        part = Decisions(decisions.state, decisions.served[:, columns], decisions.means[:, columns], decisions.ratio)
        fit = _Fit(sessions, part, dim, settings, seed + number)
        fit.run(np.flatnonzero(fold != number))
        rows = np.flatnonzero(row_fold == number)
        q[rows], v[rows] = fit.values(rows)
        log.info("fitted Q evaluation, fold %d of %d: %d updates", number + 1, count, fit.updates)
    return q, v


class _Fit:
    """One critic, of some of the sessions."""

    def __init__(self, sessions: Sessions, decisions: Decisions, dim: int, settings: FQESettings, seed: int) -> None:
        self._sessions, self._decisions, self._settings = sessions, decisions, settings
        self._rng, self.updates = np.random.default_rng([seed, 6]), 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = Values(decisions.state.shape[1], dim, decisions.served.shape[1])
        self._scale, self._shift = 1.0, 0.0
        self._share = max(settings.updates // settings.epochs, 1)  # updates of a round

    def run(self, chosen: NDArray[np.int64]) -> None:
        """Fit to the sessions ``chosen``, some of whose users, or sessions of the one user, are held out to stop by."""
        user = self._sessions.user[chosen]
        group = user if (user != user[0]).any() else chosen
        known = np.unique(group)
        held = np.isin(group, self._rng.permutation(known)[::_HELD_OUT]) & (len(known) > 1)
        learns, stops = chosen[~held], chosen[held]
        rest = _to_go(self._sessions)[self._rows(learns)]
        self._shift, self._scale = float(rest.mean()), max(float(rest.std()), 1e-6)
        optimizer = torch.optim.Adam(self._net.parameters(), lr=self._settings.learning_rate, fused=True)
        best, kept, worse = np.inf, copy.deepcopy(self._net.state_dict()), 0
        held_out = self._rows(self._some(stops))
        for _ in range(self._settings.epochs):
            rows = self._rows(self._some(learns))
            self._round(rows, torch.from_numpy(self._goals(rows)[0]).float(), optimizer)
            error = self._goals(held_out)[1]
            if error < best or not len(held_out):
                best, kept, worse = error, copy.deepcopy(self._net.state_dict()), 0
            else:
                worse += 1
            if worse >= self._settings.patience:
                break
        self._net.load_state_dict(kept)

    def _some(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """As many of the sessions ``chosen``, at random, as one round can read, in order."""
        drawn, most = self._rng.permutation(chosen), self._share * self._settings.batch
        read = np.searchsorted(np.cumsum(self._sessions.lengths[drawn]), most, side="right")
        return np.sort(drawn[: max(int(read), 1)])

    def _rows(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of some sessions, session by session."""
        lengths = self._sessions.lengths[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        rows: NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(self._sessions.first[chosen] - starts, lengths)
        return rows

    def _goals(self, rows: NDArray[np.int64]) -> tuple[Floats, float]:
        """Targets of ``rows``, in units of the fit, and the mean squared error of the values."""
        if not len(rows):
            return np.zeros(0), 0.0
        q, v = self.values(rows)
        last = np.append(self._sessions.session[rows][1:] != self._sessions.session[rows][:-1], True)
        goal = retrace(self._sessions.reward[rows], q, v, self._decisions.ratio[rows], last, self._settings.trace)
        return (goal - self._shift) / self._scale, float(np.square(goal - q).mean())

    def _round(self, rows: NDArray[np.int64], goal: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Passes over ``rows``, each in another random order: one, or as many as the round's updates allow."""
        parts = -(-len(rows) // self._settings.batch)
        for _ in range(max(1, self._share // parts)):
            for batch in np.array_split(self._rng.permutation(len(rows)), parts):
                head, value = self._net(self._decisions.state[rows[batch]])
                q = torch.linalg.vecdot(head, self._decisions.served[rows[batch]]) + value
                loss = (q - goal[batch]).square().mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self._net.parameters(), _CLIP)
                optimizer.step()
                self.updates += 1

    def values(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Q of the served items and V of the target at ``rows``, in units of the reward."""
        data = self._decisions
        with torch.no_grad():
            head, value = self._net(data.state[rows])
            q = torch.linalg.vecdot(head, data.served[rows]) + value
            v = torch.linalg.vecdot(head, data.means[rows]) + value
        return tuple(self._shift + self._scale * part.double().numpy() for part in (q, v))


def _to_go(sessions: Sessions) -> Floats:
    """Rewards of the rest of each session, ``(N,)``."""
    total = np.cumsum(sessions.reward)
    before = total - sessions.reward
    end = np.repeat(total[sessions.first[1:] - 1], sessions.lengths)
    rest: Floats = end - before
    return rest


def retrace(
    reward: Floats, q: Floats, v: Floats, ratio: Floats, last: NDArray[np.bool_] | Sequence[bool], trace: float
) -> Floats:
    r"""Retrace(lambda) targets of sessions one after the other, undiscounted, ``(M,)``.

    .. math:: y_t = r_t + V(s_{t+1}) + c_{t+1} (y_{t+1} - Q(s_{t+1}, a_{t+1})), \qquad c_t = \lambda \min(1, w_t)

    Args:
        reward, q, v, ratio: ``(M,)`` of the decisions.
        last: ``(M,) bool``, the last decision of a session.
        trace: lambda.
    """
    number = np.cumsum(np.append(0, np.asarray(last)[:-1])).astype(np.int64)
    starts = np.flatnonzero(np.append(True, np.asarray(last)[:-1]))
    position = np.arange(len(reward)) - starts[number]
    shape = int(number[-1]) + 1, int(position.max()) + 2

    def square(values: Floats) -> Floats:
        result = np.zeros(shape)
        result[number, position] = values
        return result

    rewards, qs, vs, cut = square(reward), square(q), square(v), square(trace * np.minimum(1.0, ratio))
    goal = np.zeros(shape)
    for step in reversed(range(shape[1] - 1)):
        goal[:, step] = rewards[:, step] + vs[:, step + 1] + cut[:, step + 1] * (goal[:, step + 1] - qs[:, step + 1])
    result: Floats = goal[number, position]
    return result

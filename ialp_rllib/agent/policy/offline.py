"""Training of sequential recommenders on a log, pass by pass, and their ranking of items."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ialp_rllib.agent.policy.offline_losses import actor_weight, augmented_losses, q_losses, supervised_loss
from ialp_rllib.agent.policy.offline_terms import loss_terms
from ialp_rllib.agent.policy.sequential import SequentialRecommender
from ialp_rllib.agent.policy.transitions import Batch, EnvironmentData, Transitions
from ialp_rllib.catalogue.features import Tokens
from ialp_rllib.catalogue.ranking_split import Cases, RankingSplit, rank_cases
from ialp_rllib.errors import InputError
from ialp_rllib.results.ranking import ranking_measures
from ialp_rllib.settings import OfflineSettings

CHOSEN_BY = "NDCG@10"
"""The measure on the validation cases by which training stops."""
WITHOUT_Q = ("ce", "eval")
"""Objectives that give the Q head no loss."""


def ranking_head(settings: OfflineSettings) -> str:
    """The head that ranks, and by which training stops: ``ranked_by``, where it is learnt; else the softmax."""
    return "supervised" if settings.objective in WITHOUT_Q else settings.ranked_by


class NetworkScorer:
    """Scores of all items by one of a network's heads; cases of one sequence share a pass.

    Args:
        network: in evaluation mode.
        head: ``supervised`` or ``q``.
        environment: ``(M, d)`` states of the LLM environment, row p after ``cases.item[p]``. None: the head reads the
            sequential model's state alone, as it does at serving time.
    """

    def __init__(
        self, network: SequentialRecommender, head: str = "supervised", environment: NDArray[Any] | None = None
    ) -> None:
        self._network, self._head, self._environment = network, head, environment

    @torch.no_grad()
    def __call__(self, cases: Cases) -> Tensor:
        """``(N, I)`` scores."""
        network = self._network
        first = np.maximum(cases.start, cases.stop - network.settings.history)
        windows, row = np.unique(first, return_inverse=True)
        size = np.zeros(len(windows), np.int64)
        np.maximum.at(size, row, cases.stop - first)
        place = windows[:, None] + np.arange(size.max(initial=1))
        held = np.arange(place.shape[1]) < size[:, None]
        inputs = np.where(held, cases.item[np.minimum(place, len(cases.item) - 1)], network.n_items)
        table = network.items()
        states = network.states(torch.from_numpy(inputs), table)[row, cases.stop - first - 1]
        reads = self._head == "q" or network.settings.le_to == "both"
        if self._environment is not None and reads:
            beside = self._environment[cases.stop - 1].astype(np.float32)
            states = network.joined(states, torch.from_numpy(beside))
        return network.values(states, table) if self._head == "q" else network.logits(states, table)


class OfflineTraining:
    """Training of one recommender; with the same arguments always the same, also if resumed between passes.

    Args:
        split: sequences to learn from and validation cases to stop by; test cases are not read.
        settings: network, losses and training.
        seed: of initial weights, batches, dropout and negatives.
        environment: what an LLM environment says about ``split.train``; None: nothing.
        valid_states: ``(M, d)`` the environment's states about ``split.valid.item``, for a head that reads them.
        tokens: attribute values and words of the items, or None.

    Attributes:
        curve: a row per pass: ``epoch``, the mean of each loss, their sum ``loss``, and on validation ``NDCG@10`` (None
            in passes that are not validated).
        best: the pass with the highest validation NDCG@10, from 1; 0 before the first.

    Raises:
        InputError: no validation case or transition; or the environment's arrays are not about these sequences.
    """

    def __init__(
        self,
        split: RankingSplit,
        settings: OfflineSettings,
        seed: int,
        environment: EnvironmentData | None = None,
        valid_states: NDArray[Any] | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        if not len(split.valid):
            raise InputError("catalogue.valid_share", "leaves no validation case", "more validation users")
        self._environment = EnvironmentData() if environment is None else environment
        self._environment.check(split.train, split.n_items)
        self._split, self._settings, self._seed, self._valid_states = split, settings, seed, valid_states
        self._transitions = Transitions(split.train, settings.history, split.n_items)
        self._masks_seen = split.masks_seen()
        states = self._environment.states
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = 0 if states is None else states.shape[1]
            self._net = SequentialRecommender(split.n_items, settings, width, tokens)
        self._target: SequentialRecommender | None = None
        if settings.objective not in WITHOUT_Q:
            self._target = copy.deepcopy(self._net).eval().requires_grad_(False)
        self._optimizer = torch.optim.Adam(
            self._net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._best_weights = copy.deepcopy(self._net.state_dict())
        self.curve: list[dict[str, Any]] = []
        self.best = 0

    @property
    def finished(self) -> bool:
        """Whether all passes are done, or ``patience`` validations have not found a higher NDCG@10."""
        passes = len(self.curve)
        since = sum(row[CHOSEN_BY] is not None for row in self.curve[max(self.best, self._warm_up) :])
        return passes >= self._settings.epochs or since >= self._settings.patience

    @property
    def _warm_up(self) -> int:
        """Passes of which none is chosen, so that what is chosen was trained with the weighted cross-entropy."""
        weighted = self._settings.objective in ("sac", "sa2c")
        return min(self._settings.warm_up, self._settings.epochs - 1) if weighted else 0

    def run_epoch(self) -> None:
        """One pass over the log, and a validation after it if it is due.

        Raises:
            InputError: a loss is not finite.
        """
        epoch = len(self.curve) + 1
        rng = np.random.default_rng([self._seed, epoch])
        totals: dict[str, float] = {}
        updates = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(1 << 62)))
            self._net.train()
            for batch in self._transitions.batches(self._settings.batch, rng):
                updates += 1
                for name, value in self._update(batch, rng).items():
                    totals[name] = totals.get(name, 0.0) + value
        self._net.eval()
        means = {name: value / updates for name, value in totals.items()}
        if not np.isfinite(sum(means.values())):
            raise InputError(f"pass {epoch}", f"has a loss that is not finite: {means}", "a lower learning_rate")
        self.curve.append({"epoch": epoch, **means, "loss": sum(means.values()), CHOSEN_BY: None})
        if epoch > self._warm_up and (epoch % self._settings.validate_every == 0 or epoch >= self._settings.epochs):
            self._validate()

    def _update(self, batch: Batch, rng: np.random.Generator) -> dict[str, float]:
        """One update; the losses before it."""
        settings = self._settings
        terms = loss_terms(self._net, self._target, batch, self._environment, rng)
        weight = None
        losses: dict[str, Tensor] = {}
        if terms.q is not None:
            losses |= q_losses(terms.q, settings.q_weight)
            if len(self.curve) >= self._warm_up:
                weight = actor_weight(settings.objective, terms.q)
        if terms.augmented is not None:
            losses |= augmented_losses(terms.augmented, settings.augmented_ce, settings.augmented_q)
        if terms.length_error is not None:
            losses["length"] = settings.q_weight * terms.length_error.square().mean()
        losses["ce"] = supervised_loss(terms.log_prob, weight)
        self._optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self._target is not None:
            self._follow(self._target)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    @torch.no_grad()
    def _follow(self, target: SequentialRecommender) -> None:
        for slow, own in zip(target.parameters(), self._net.parameters(), strict=True):
            slow.lerp_(own, self._settings.target_rate)

    def _validate(self) -> None:
        scorer = NetworkScorer(self._net, ranking_head(self._settings), self._valid_states)
        rank = rank_cases(scorer, self._split.valid, self._split.n_items, self._masks_seen)
        found = ranking_measures(rank)[CHOSEN_BY]
        highest = max((row[CHOSEN_BY] for row in self.curve if row[CHOSEN_BY] is not None), default=-1.0)
        self.curve[-1][CHOSEN_BY] = found
        if found > highest:
            self.best, self._best_weights = len(self.curve), copy.deepcopy(self._net.state_dict())

    def result(self) -> SequentialRecommender:
        """The network after the best pass, in evaluation mode."""
        net = copy.deepcopy(self._net)
        net.load_state_dict(self._best_weights)
        return net.eval()

    def state(self) -> dict[str, Any]:
        """Everything that the next pass depends on, for a checkpoint between passes."""
        return {
            "weights": dict(self._net.state_dict()),
            "target": None if self._target is None else dict(self._target.state_dict()),
            "optimizer": self._optimizer.state_dict(),
            "best_weights": dict(self._best_weights),
            "best": self.best,
            "curve": self.curve,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`, of a training with the same arguments."""
        self._net.load_state_dict(state["weights"])
        if self._target is not None:
            self._target.load_state_dict(state["target"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best_weights, self.best, self.curve = state["best_weights"], state["best"], state["curve"]

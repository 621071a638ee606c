"""Learning by imitation: the actor and its encoder by the losses of one or more sources, in plain PyTorch.

The one trainer of every policy that starts without reward: from a log (stage ``warm``), from a judge's preferences
(stage ``pretrain``), from both (stage ``joint``). Training stops by rows that are held out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy import rows as item_rows
from ialp_rllib.agent.policy.negatives import ItemSampler, Negatives
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.agent.policy.sources import Source
from ialp_rllib.settings import AgentSettings, ImitationSettings

_HELD_OUT_ROWS = 1024  # rows per forward pass without gradient
_SAMPLE = 5  # of the seeds of this training, the one of sampled items


@dataclass(frozen=True)
class Lesson:
    """One source with what it counts.

    Attributes:
        name: of its columns in the curve.
        train: rows to learn from, at least one.
        held_out: rows to stop by, at least one.
        weight: what one of its rows counts; a source of twice as many rows counts twice as much.
    """

    name: str
    train: Source
    held_out: Source
    weight: float = 1.0


class Imitation:
    r"""Training of one policy, pass by pass; with the same seed always the same.

    A pass goes through every row of every source once. Each source is divided into as many parts as the largest one
    has batches, and an update takes a part of each:

    .. math:: L = \sum_s w_s \sum_{i \in \text{part}_s} l_i \;/\; \sum_s w_s |\text{part}_s|

    Args:
        network: of the agent. Whatever ``shared_encoder`` says, the encoder is trained; the critic keeps its initial
            weights.
        lessons: what to learn from, at least one, of positive weight.
        settings: of the training.
        agent: ``block_items`` (a larger catalogue is scored in blocks, with the same result), ``gradient_clip``, and
            ``candidates``: with a ``count`` only the rows of items in a batch are read, moved and decayed, and as many
            items stand for all of them (:mod:`.negatives`).
        seed: random seed of initial weights, batches and sampled items.
        popularity: ``(I,)``, by which items are sampled; None: all the same.

    Attributes:
        curve: a row per pass: ``epoch``, ``updates`` so far, ``train_loss`` and ``held_out_loss``, nats per row, and
            with several sources ``held_out_NAME`` of each.
        best: the pass with the lowest held-out loss, from 1; 0 before the first.
    """

    def __init__(
        self,
        network: NetworkConfig,
        lessons: Sequence[Lesson],
        settings: ImitationSettings,
        agent: AgentSettings,
        seed: int,
        popularity: np.ndarray | None = None,
    ) -> None:
        self._lessons, self._settings, self._agent, self._seed = lessons, settings, agent, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = ActorCritic(replace(network, shared_encoder=True))
        counts = np.ones(network.n_items) if popularity is None else popularity
        self._sampler = ItemSampler(counts, agent.candidates.count) if agent.candidates.count else None
        self._optimizers = self._make_optimizers()
        self._best_weights = copy.deepcopy(self._net.state_dict())
        self.curve: list[dict[str, Any]] = []
        self.best = 0

    @property
    def finished(self) -> bool:
        """Whether all passes are done, or ``patience`` of them have not lowered the held-out loss."""
        passes = len(self.curve)
        return passes >= self._settings.epochs or passes - self.best >= self._settings.patience

    def run_epoch(self) -> None:
        """One pass over all rows, and the held-out loss after it."""
        updates = max(-(-len(lesson.train) // self._settings.batch) for lesson in self._lessons)
        orders = [self._order(index, len(lesson.train)) for index, lesson in enumerate(self._lessons)]
        parts = [np.array_split(order, updates) for order in orders]
        total = counted = 0.0
        for update in range(updates):
            loss, weight = self._loss([part[update] for part in parts], self._items(len(self.curve), update))
            self._step(loss)
            total, counted = total + float(loss.detach()) * weight, counted + weight
        self._finish_pass(updates, total / counted)

    def _make_optimizers(self) -> list[torch.optim.Optimizer]:
        policy, settings = self._net.policy, self._settings
        if self._sampler is not None:
            named = ((f"policy.{name}", parameter) for name, parameter in policy.named_parameters())
            return item_rows.make_optimizers(named, settings.learning_rate, settings.weight_decay)
        return [torch.optim.Adam(policy.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)]

    def _step(self, loss: Tensor) -> None:
        parameters, clip = [*self._net.policy.parameters()], self._agent.gradient_clip
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self._sampler is not None:
            item_rows.clip(parameters, clip)
            item_rows.decay(parameters, self._settings.weight_decay)
        else:
            nn.utils.clip_grad_norm_(parameters, clip or torch.inf)
        for optimizer in self._optimizers:
            optimizer.step()

    def _items(self, *key: int) -> Tensor | Negatives:
        """Embeddings of all items, or a sample that depends on ``key``."""
        if self._sampler is None:
            items: Tensor = self._net.policy.encoder.items()
            return items
        return self._sampler.draw(np.random.default_rng([self._seed, _SAMPLE, *key]))

    def _order(self, index: int, rows: int) -> np.ndarray:
        """Order of a source's rows in this pass."""
        key = [self._seed, len(self.curve), *([index] if index else [])]
        return np.random.default_rng(key).permutation(rows)

    def _loss(self, parts: Sequence[np.ndarray], items: Tensor | Negatives) -> tuple[Tensor, float]:
        """Loss of an update on some rows of each source, and what these rows count."""
        weights = [lesson.weight * len(rows) for lesson, rows in zip(self._lessons, parts, strict=True)]
        policy, whole = self._net.policy, sum(weights)
        losses = [
            weight / whole * lesson.train.losses(policy, items, rows, self._agent.block_items).mean()
            for lesson, rows, weight in zip(self._lessons, parts, weights, strict=True)
            if len(rows)
        ]
        return torch.stack(losses).sum(), whole

    @torch.no_grad()
    def _held_out_losses(self) -> list[float]:
        """Mean loss of the held-out rows of each source; a sample is the same after each pass."""
        policy, items, means = self._net.policy, self._items(), []
        for lesson in self._lessons:
            rows = len(lesson.held_out)
            parts = np.array_split(np.arange(rows), -(-rows // _HELD_OUT_ROWS))
            size = self._agent.block_items
            means.append(sum(float(lesson.held_out.losses(policy, items, part, size).sum()) for part in parts) / rows)
        return means

    def _finish_pass(self, updates: int, train_loss: float) -> None:
        means = self._held_out_losses()
        weights = [lesson.weight * len(lesson.train) for lesson in self._lessons]
        held_out = sum(w / sum(weights) * mean for w, mean in zip(weights, means, strict=True))
        lowest = min((row["held_out_loss"] for row in self.curve), default=np.inf)
        several = len(means) > 1
        each = {f"held_out_{one.name}": mean for one, mean in zip(self._lessons, means, strict=True) if several}
        passes = len(self.curve) + 1
        losses = {"train_loss": train_loss, "held_out_loss": held_out, **each}
        self.curve.append({"epoch": passes, "updates": passes * updates, **losses})
        if held_out < lowest:
            self.best, self._best_weights = passes, copy.deepcopy(self._net.state_dict())

    def result(self) -> ActorCritic:
        """The networks after the best pass."""
        net = copy.deepcopy(self._net)
        net.load_state_dict(self._best_weights)
        return net.eval()

    def state(self) -> dict[str, Any]:
        """Everything that the next pass depends on, for a checkpoint between passes."""
        return {
            "weights": dict(self._net.state_dict()),
            "optimizer": self._optimizers[0].state_dict(),
            "row_optimizer": [optimizer.state_dict() for optimizer in self._optimizers[1:]],
            "best_weights": dict(self._best_weights),
            "best": self.best,
            "curve": self.curve,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`, of the same rows, settings and seed."""
        self._net.load_state_dict(state["weights"])
        states = [state["optimizer"], *state.get("row_optimizer", [])]
        for optimizer, saved in zip(self._optimizers, states, strict=True):
            optimizer.load_state_dict(saved)
        self._best_weights, self.best, self.curve = state["best_weights"], state["best"], state["curve"]

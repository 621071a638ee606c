r"""Items that stand for a whole catalogue in a softmax: sampled softmax with log-q correction.

The sum over all items of :math:`\log \pi(a|s) = s_a - \log \sum_j e^{s_j}` is estimated, without bias, from n items
that are drawn from q with replacement, the same for all states of a batch:

.. math:: \sum_{j} e^{s_j} \approx \sum_{j \in W} e^{s_j} + \sum_{j \in \text{drawn}, j \notin W} \frac{e^{s_j}}{n q_j}

W are the items of which the state has a label. Only rows of the item tables that are named are read.

Source: Bengio & Senécal 2008, "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
Model"; q by popularity: Mikolov et al. 2013.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.agent.policy.blockwise import MASKED
from ialp_rllib.agent.policy.networks import masked_items
from ialp_rllib.agent.policy.popular import proportions
from ialp_rllib.agent.policy.shortlists import Part, item_scores


class Negatives(NamedTuple):
    """Items that stand for all.

    Attributes:
        items: ``(n,) int64``, with repetitions.
        log_count: ``(n,) float32``, log of how often each is expected among them, :math:`\\log n q`.
    """

    items: Tensor
    log_count: Tensor


class ItemSampler:
    """Draws the items that stand for all.

    Args:
        popularity: ``(I,)``, number of interactions.
        count: items to draw, n; as many as there are or more: all of them, each once, and nothing is estimated.
    """

    def __init__(self, popularity: np.ndarray, count: int) -> None:
        share = proportions(popularity)
        self._count, self._all = count, count >= len(share)
        self._cumulative, self._log_share = share.cumsum(), np.log(share)

    def draw(self, rng: np.random.Generator) -> Negatives:
        """``count`` items."""
        total = len(self._cumulative)
        if self._all:
            return Negatives(torch.arange(total), torch.zeros(total))
        found = np.searchsorted(self._cumulative, rng.random(self._count) * self._cumulative[-1], side="right")
        items = np.minimum(found, total - 1)
        log_count = (self._log_share[items] + np.log(self._count)).astype(np.float32)
        return Negatives(torch.from_numpy(items), torch.from_numpy(log_count))


def log_probs(part: Part, observation: Tensor, wanted: Tensor, negatives: Negatives) -> Tensor:
    """Estimated log-probabilities of k items per state, with gradient.

    Args:
        part: the policy in B states.
        observation: ``(B, 1 + L) int``, the states.
        wanted: ``(B, k) int64``, distinct in each row.
        negatives: n items that stand for the others.

    Returns:
        ``(B, k)``; of items that may not be recommended about -1e9.
    """
    config = part.policy.config
    masked = masked_items(observation, config.mask_recent, config.n_items)
    shown = item_scores(part.policy.actor, part.hidden, wanted, part.rows(wanted))
    shown = shown.masked_fill(_holds(masked, wanted), MASKED)
    bias = torch.gather(part.policy.actor.bias, 0, negatives.items, sparse_grad=True)
    others = torch.addmm(bias - negatives.log_count, part.hidden, part.rows(negatives.items).T)
    barred = _holds(torch.cat([wanted, masked], 1), negatives.items.expand(len(wanted), -1))
    others = others.masked_fill(barred, MASKED)
    return shown - torch.logsumexp(torch.cat([shown, others], 1), 1, keepdim=True)


def _holds(rows: Tensor, items: Tensor) -> Tensor:
    """Which of ``items`` ``(B, n)`` are among ``rows`` ``(B, m)`` of the same state, ``(B, n) bool``."""
    if not rows.shape[1]:
        return torch.zeros_like(items, dtype=torch.bool)
    ordered = rows.sort(1).values
    column = torch.searchsorted(ordered, items.contiguous()).clamp(max=ordered.shape[1] - 1)
    return ordered.gather(1, column) == items

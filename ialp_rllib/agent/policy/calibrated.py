r"""The calibrated conservative term of a critic: values of actions that were not taken stay near what was observed.

.. math:: \log \sum_a \exp \max(Q(s, a), G) \; - \; Q(s, a_t)

CQL (Kumar et al. 2020) pushes the values of all actions of a state down and that of the action in the data up. Values
that are pushed under the returns that such states had would be unlearned online, so Cal-QL (Nakamoto et al. 2023)
pushes no value under the return :math:`G` of the transition: below it the term has no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ialp_rllib.agent.policy.blockwise import LazyScores


def conservative_term(
    q: LazyScores, state_value: Tensor, action: Tensor, returns: Tensor, n_items: int, *, size: int
) -> Tensor:
    """Mean of the term over the transitions that carry a return, with gradient; 0 if none does.

    Args:
        q: Q-values of all items without the state value, B states.
        state_value: ``(B,)``.
        action: ``(B,) int64``.
        returns: ``(B,)``; NaN where no return is known.
        n_items: number of items, I; further scores are of no item.
        size: number of items per block.
    """
    known = torch.isfinite(returns)
    if not bool(known.any()):
        return state_value.sum() * 0
    value, floor = state_value[known][:, None], returns[known][:, None].float()
    some = LazyScores(q.hidden[known], q.items[:n_items], q.bias[:n_items])
    blocks = [torch.logsumexp(torch.maximum(some.block(*ends) + value, floor), 1) for ends in some.block_ranges(size)]
    taken = some.gather(action[known]) + value[:, 0]
    return (torch.logsumexp(torch.stack(blocks), 0) - taken).mean()

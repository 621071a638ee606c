"""What an actor-critic module computes where it acts on candidates (``agent.candidates``), instead of on all items."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from ialp_rllib.agent.policy.blockwise import MASKED
from ialp_rllib.agent.policy.networks import ActorCritic, decode_items
from ialp_rllib.agent.policy.shortlists import (
    OTHERS,
    Acting,
    Part,
    Scored,
    acting,
    choose,
    compare,
    item_scores,
    mean_of_others,
    shortlist,
    statistics,
)
from ialp_rllib.agent.rllib import outputs as out


def _acting(module: Any, observation: Tensor) -> Acting:
    theta, alpha = module.mixed_with()
    return acting(module.candidates, module.policy, observation, theta, alpha)


def acting_probs(module: Any, observation: Tensor) -> Tensor:
    """Probabilities of all items, ``(B, I + 1)``: exact, and as wide as the catalogue."""
    what = _acting(module, observation)
    return module.candidates.dense(what.found, what.probs)


def select(module: Any, observation: Tensor, mode: str, temperature: Tensor | None = None) -> Tensor:
    """As :func:`.shortlists.choose`, ``(B,) int64``."""
    return choose(module.candidates, _acting(module, observation), mode, temperature)


def forward_train(module: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Outputs of a training batch, see :mod:`.outputs`."""
    observation, action = batch[Columns.OBS], batch[Columns.ACTIONS].long()
    following = next_value(module, batch[Columns.NEXT_OBS])
    part, (scored, rows) = _scored(module, module.policy, observation)
    critic, found = module.critic, scored.found
    hidden, state_value = critic.advantage.hidden(part.state), critic.state_value(part.state)
    own = module.policy.encoder.items.rows(action[:, None])
    q_action = item_scores(critic.advantage, hidden, action[:, None], own)[:, 0]
    needs = module.needs_q_values
    q, others = _values(module, module, hidden.detach(), found, rows) if needs else (None, 0.0)
    found_statistics = statistics(module.candidates, scored, action, q, others)._asdict()
    if scored.anchor is None:
        del found_statistics[out.DIVERGENCE]
    if q is not None and module.compares_parts:
        difference, ratio = compare(module.candidates, scored, action, q)
        found_statistics |= {out.DIFFERENCE: difference, out.RATIO: ratio}
    found_statistics[out.VALUE] = found_statistics[out.VALUE] + state_value.detach()
    return {out.Q: q_action + state_value, out.NEXT_VALUE: following, **found_statistics}


@torch.no_grad()
def next_value(module: Any, observation: Tensor) -> Tensor:
    """Value of next states, ``(B,)``, as :meth:`.modules.ActorCriticModule.next_value`."""
    source = module if module.target is None else module.target
    _follow(module, decode_items(observation[:, 1:].long(), module.n_items))
    part, (scored, rows) = _scored(module, source.policy, observation)
    q, others = _values(module, source, source.critic.advantage.hidden(part.state), scored.found, rows)
    if module.model_config.get("bootstrap") == "max":
        value = q.masked_fill(scored.found.barred, MASKED).amax(1)
    else:
        value = scored.mean(q, others)
    return value + source.critic.state_value(part.state)


def _scored(module: Any, policy: Any, observation: Tensor) -> tuple[Part, tuple[Scored, Tensor]]:
    """A learning policy (online or target) in B states: encoded, with the candidates, their logits and embeddings."""
    theta, alpha = module.mixed_with()
    part = Part.of(policy, observation)
    anchor = module.anchor if policy is module.policy else None
    with torch.no_grad():
        frozen = None if theta is None else Part.of(theta, observation)
        found = shortlist(module.candidates, observation, part, frozen)
        of_theta = None if frozen is None else frozen.scores(found)
        of_anchor = None if anchor is None else Part.of(anchor, observation).scores(found)
    if theta is not None and module.model_config.get("anchor"):
        of_anchor = of_theta
    if policy is not module.policy:
        _follow(module, found.items)
    rows = part.rows(found.items)
    return part, (Scored(found, part.scores(found, rows), of_theta, alpha, of_anchor), rows)


@torch.no_grad()
def _values(module: Any, network: Any, hidden: Tensor, found: Any, rows: Tensor) -> tuple[Tensor, Tensor | float]:
    """Q-values of the candidates without the state value, ``(B, W)``, and their mean over q_s, ``(B,)``."""
    head, items = network.critic.advantage, network.policy.encoder.items
    q = item_scores(head, hidden, found.items, rows)
    if not module.candidates.epsilon:
        return q, 0.0
    drawn = module.candidates.others(OTHERS)
    if isinstance(network, ActorCritic):
        _follow(module, drawn)
    return q, mean_of_others(head, hidden, items, drawn, found)


def _follow(module: Any, items: Tensor) -> None:
    """Let rows of the target network follow up to now, before they are read."""
    if module.target is not None:
        module.lag.follow(module.target, module, items)

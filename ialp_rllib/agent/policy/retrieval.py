"""What a saved policy needs to act on candidates (``agent.candidates``) as it did in training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.candidates import Candidates
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.agent.policy.shortlists import acting
from ialp_rllib.agent.policy.tensors import array_of, short
from ialp_rllib.errors import InputError

if TYPE_CHECKING:  # a policy is served without the library of the settings
    from ialp_rllib.settings import CandidateSettings

VECTORS, BIAS, POPULARITY = "index.vectors", "index.bias", "index.popularity"


class Retrieval(NamedTuple):
    """Where a policy's candidates are from.

    Attributes:
        settings: of the candidates; ``count`` above 0.
        popularity: ``(I,) float32``, number of interactions.
        vectors, bias: ``(I, d)`` and ``(I,)``, what the index was made from; None: the policy's own.
    """

    settings: CandidateSettings
    popularity: np.ndarray
    vectors: Tensor | None = None
    bias: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What ``policy.safetensors`` holds of it."""
        found = {POPULARITY: torch.from_numpy(np.asarray(self.popularity, np.float32))}
        if self.vectors is not None and self.bias is not None:
            found |= {VECTORS: self.vectors.contiguous(), BIAS: self.bias.contiguous()}
        return found

    def config(self) -> dict[str, Any]:
        """What ``config.json`` holds of it."""
        return asdict(self.settings)

    @staticmethod
    def read(config: Any, tensors: dict[str, Tensor], network: NetworkConfig, path: Path) -> Retrieval:
        """From ``candidates`` in ``config.json`` and the tensors of ``policy.safetensors``, the file ``path``.

        Raises:
            InputError: a value is out of range, or a tensor is missing or of another shape.
        """
        where, rows = str(path.with_name("config.json")), network.n_items
        if not isinstance(config, dict):
            raise InputError(where, f"'candidates' is {short(config)}", "the settings agent.candidates")
        from ialp_rllib.settings import CandidateSettings, from_dict  # here: only a policy on candidates needs it

        settings = from_dict(CandidateSettings, config, where, "candidates.")
        popularity = array_of(tensors, POPULARITY, (rows,), torch.float32, path)
        if VECTORS not in tensors and BIAS not in tensors:
            return Retrieval(settings, popularity)
        array_of(tensors, VECTORS, (rows, network.dim), torch.float32, path)
        array_of(tensors, BIAS, (rows,), torch.float32, path)
        return Retrieval(settings, popularity, tensors[VECTORS], tensors[BIAS])

    def candidates(self, policy: Policy) -> Candidates:
        """The candidates of a policy."""
        config = policy.config
        found = Candidates(config.n_items, config.dim, self.settings, self.popularity)
        if self.vectors is None or self.bias is None:
            found.own.take(policy)
        else:
            found.own.put(self.vectors, self.bias)
        return found


@torch.no_grad()
def probabilities(
    candidates: Candidates,
    policy: Policy,
    observation: Tensor,
    theta: Policy | None = None,
    alpha: Tensor | float = 1.0,
) -> Tensor:
    """Probabilities of all items, ``(B, I + 1)``, of a policy on candidates, or of its mixture with ``theta``."""
    what = acting(candidates, policy, observation, theta, alpha)
    return candidates.dense(what.found, what.probs)


class OnCandidates(nn.Module):
    """An actor on its candidates, or the mixture of two (Eq. 14), as :mod:`.acting` has them on all items.

    Args:
        network: sizes and features.
        mixed: whether a frozen actor theta acts beside the one that learnt.
    """

    def __init__(self, network: NetworkConfig, mixed: bool) -> None:
        super().__init__()
        self.policy = Policy(network)
        self.theta = Policy(network) if mixed else None
        if mixed:
            self.register_buffer("alpha", torch.zeros(()))
        self.alpha: Tensor
        self.retrieval: Retrieval | None = None
        self._found: list[Candidates] = []  # a list: no part of the state dict

    def attach(self, retrieval: Retrieval) -> None:
        """Say where the candidates are from; the index is built when it is asked for the first time."""
        self.retrieval, self._found = retrieval, []

    @property
    def candidates(self) -> Candidates:
        """The candidates of these weights."""
        if not self._found:
            assert self.retrieval is not None, "attach comes first"
            self._found.append(self.retrieval.candidates(self.policy))
        return self._found[0]

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        alpha = 1.0 if self.theta is None else self.alpha
        probs = probabilities(self.candidates, self.policy, observation, self.theta, alpha)
        return probs, probs

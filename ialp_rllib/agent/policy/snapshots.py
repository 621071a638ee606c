"""Item vectors as they were at one time, with their index, which is rebuilt beside training.

A rebuild begins at one update and takes effect at a later one, whose number is fixed: what is trained does not depend
on how long the build takes. In between a second thread builds the index; faiss computes outside Python's lock.
"""

from __future__ import annotations

import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.index import Index, make_index
from ialp_rllib.agent.policy.networks import Policy

if TYPE_CHECKING:  # a policy is served without the library of the settings
    from ialp_rllib.settings import CandidateSettings


class Snapshot(nn.Module):
    """Item vectors and biases of an actor as they were at one time, and their index.

    Attributes:
        vectors: ``(I, d)``.
        bias: ``(I,)``.
        tag: CRC-32 of both: the version of the index.
        next_vectors, next_bias: those of a rebuild that has begun and is not in effect; else without rows.
    """

    def __init__(self, n_items: int, dim: int, settings: CandidateSettings) -> None:
        super().__init__()
        self._settings, self._built = settings, -1
        self._index: Index | None = None
        self._building: Future[Index] | None = None
        self.register_buffer("vectors", torch.zeros(n_items, dim))
        self.register_buffer("bias", torch.zeros(n_items))
        self.register_buffer("tag", torch.zeros((), dtype=torch.int64))
        self.register_buffer("next_vectors", torch.zeros(0, dim))
        self.register_buffer("next_bias", torch.zeros(0))
        self.vectors: Tensor
        self.bias: Tensor
        self.tag: Tensor
        self.next_vectors: Tensor
        self.next_bias: Tensor

    @property
    def pending(self) -> bool:
        """Whether a rebuild has begun that is not in effect."""
        return len(self.next_bias) > 0

    @torch.no_grad()
    def take(self, policy: Policy) -> None:
        """Take over the vectors and biases of a policy's actor, at once."""
        self.put(*_copies(policy))

    def put(self, vectors: Tensor, bias: Tensor) -> None:
        """Let vectors ``(I, d)`` and biases ``(I,)`` take effect at once."""
        self.next_vectors, self.next_bias = vectors, bias
        self._building = None
        self.swap()

    @torch.no_grad()
    def begin(self, policy: Policy) -> None:
        """Begin a rebuild from the vectors that a policy's actor has now."""
        self.next_vectors, self.next_bias = _copies(policy)
        threads = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._building = threads.submit(make_index, self.next_vectors, self.next_bias, self._settings)
        threads.shutdown(wait=False)

    @torch.no_grad()
    def swap(self) -> None:
        """Let the rebuild that has begun take effect; waits for it. One that was restored is built when it is asked."""
        built = None if self._building is None else self._building.result()
        self.vectors, self.bias = self.next_vectors, self.next_bias
        self.next_vectors, self.next_bias = self.vectors[:0].clone(), self.bias[:0].clone()
        parts = (tensor.cpu().numpy().data for tensor in (self.vectors, self.bias))
        self.tag = self.tag.new_tensor(zlib.crc32(next(parts), zlib.crc32(next(parts))))
        self._index, self._building = built, None
        self._built = -1 if built is None else int(self.tag)

    def build(self) -> Index:
        """The index of the vectors in effect, which is built unless it is there."""
        if self._index is None or self._built != int(self.tag):
            self._built, self._index = int(self.tag), None  # the old one is let go first
            self._index = make_index(self.vectors, self.bias, self._settings)
        return self._index

    def search(self, query: Tensor, count: int) -> Tensor:
        """As :meth:`.index.Index.search`, by the index of the vectors in effect."""
        return self.build().search(query, count)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *options: Any, **named: Any) -> None:
        """As PyTorch's; whether a rebuild has begun, and so the size of what it is from, is part of the state."""
        for name in ("next_vectors", "next_bias"):
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape != getattr(self, name).shape:
                setattr(self, name, getattr(self, name).new_zeros(saved.shape))
        self._building = None
        super()._load_from_state_dict(state_dict, prefix, *options, **named)


def _copies(policy: Policy) -> tuple[Tensor, Tensor]:
    return policy.encoder.items()[:-1].detach().clone(), policy.actor.bias[:-1].detach().clone()

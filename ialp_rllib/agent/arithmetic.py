"""How PyTorch computes while a policy is trained, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ialp_rllib.judge.engines.threads import computing_with


def flushes_denormals() -> bool:
    """Whether this thread computes with numbers under 1.2e-38 as zeros."""
    return bool((torch.full((1,), 1e-39) * torch.ones(1) == 0).all())


@contextmanager
def training_arithmetic(threads: int) -> Iterator[None]:
    """Compute with ``threads`` threads and denormal numbers as zeros; afterwards as before.

    The optimizer's moments of items that are hardly ever recommended become denormal, too small to matter and slow to
    compute with. Both are states of the process: a caller's own computations in a notebook, or another stage in the
    same process (``local_mode``), must not be changed by them.
    """
    before = flushes_denormals()
    with computing_with(threads):
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(before)

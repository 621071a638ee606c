"""How many threads PyTorch computes with in this process, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

SMALL = 10_000_000
"""Parameters under which a second thread costs more than it gives: it waits, spinning, for the first."""


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with so many threads; afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(model: torch.nn.Module) -> AbstractContextManager[None]:
    """Compute with one thread if ``model`` is small, with as many as before otherwise; afterwards as before."""
    small = sum(weight.numel() for weight in model.parameters()) < SMALL
    return computing_with(1 if small else torch.get_num_threads())

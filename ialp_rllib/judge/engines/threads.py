"""How many threads a small model computes with in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 10_000_000
"""Parameters under which a second thread costs more than it gives: it waits, spinning, for the first."""


@contextmanager
def threads_for(model: torch.nn.Module) -> Iterator[None]:
    """Compute with one thread if ``model`` is small, with as many as before otherwise; afterwards as before."""
    before = torch.get_num_threads()
    if sum(weight.numel() for weight in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

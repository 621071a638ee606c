"""State of the random generators of a process: torch's, on the CPU and on GPUs, NumPy's global one, and Python's."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def generator_states() -> dict[str, Any]:
    """States to be restored by :func:`set_generator_states`, of types that :mod:`..checkpoints.tree` can write."""
    gpus = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if gpus else [],
        "numpy": np.random.get_state(legacy=False),
        "python": random.getstate(),
    }


def set_generator_states(states: dict[str, Any]) -> None:
    """Restore the states that :func:`generator_states` returned; GPUs that this machine lacks are left out."""
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available():
        for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, device)
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])

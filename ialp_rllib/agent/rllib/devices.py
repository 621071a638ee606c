"""Where a policy acts: RLlib puts the learner on its GPU, and leaves the runner in the same process on the CPU."""

from __future__ import annotations

from typing import Any

from ray.rllib.utils.framework import get_device


def acting_device(config: Any, worker: int) -> Any:
    """The device of the learner, for a runner in its process: they share tensors (:func:`.weights.share`).

    Args:
        config: an :class:`.config.IALPConfig`.
        worker: index of the runner; 0: in the process of the algorithm.

    Returns:
        A torch device; None: RLlib's choice.
    """
    local = not worker and config.num_learners == 0
    return get_device(config, config.num_gpus_per_learner) if local and config.num_gpus_per_learner else None

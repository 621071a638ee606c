"""Building an algorithm as this package uses it: quiet, and without RLlib's own result files."""

from __future__ import annotations

import inspect
import logging

from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.runtime.quiet import quiet


def build(config: IALPConfig, seed: int) -> IALP:
    """The algorithm, without RLlib's own result files (we write Parquet and TensorBoard)."""
    config = config.copy(copy_frozen=False)
    config.debugging(seed=seed, log_level="ERROR")
    # RLlib warns at every construction that its default, the new API stack, is in use.
    with quiet("ray.rllib", logging.ERROR):
        if "logger_creator" not in inspect.signature(config.build_algo).parameters:
            return config.build_algo()  # newer Rays write no result files of their own
        from ray.tune.logger import NoopLogger

        config.debugging(logger_config={"type": NoopLogger})
        return config.build_algo(logger_creator=lambda c: NoopLogger(c, ""))

"""The stages of a run, in the order in which they depend on each other."""

from ialp_rllib.stages.pipeline import run_all, run_stage
from ialp_rllib.stages.run import STAGES, Run

__all__ = ["STAGES", "Run", "run_all", "run_stage"]

"""The stages of a run, in the order in which they depend on each other."""

from ialp_rllib.stages.pipeline import STAGES, Run, run_all, run_stage

__all__ = ["STAGES", "Run", "run_all", "run_stage"]

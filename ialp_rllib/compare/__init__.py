"""Comparison of methods over several scenarios and seeds, with the published results."""

from ialp_rllib.compare.measurements import Measurements, collect
from ialp_rllib.compare.plan import Comparison, plan_comparison, run_scenario
from ialp_rllib.compare.write import write_comparison

__all__ = ["Comparison", "Measurements", "collect", "plan_comparison", "run_scenario", "write_comparison"]

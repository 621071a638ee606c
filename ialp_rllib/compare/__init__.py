"""Comparison of methods over several scenarios and seeds, with the published results."""

from ialp_rllib.compare.measurements import Measurements, collect
from ialp_rllib.compare.plan import Comparison, plan_comparison, run_scenario
from ialp_rllib.compare.selection import choose, chosen_plan, read_selection, write_selection
from ialp_rllib.compare.write import write_comparison

__all__ = [
    "Comparison",
    "Measurements",
    "choose",
    "chosen_plan",
    "collect",
    "plan_comparison",
    "read_selection",
    "run_scenario",
    "write_comparison",
    "write_selection",
]

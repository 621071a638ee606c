"""The comparison of all methods over several scenarios and seeds, beside the published figures."""

from ialp_rllib.compare.measurements import Measurements, collect
from ialp_rllib.compare.plan import Comparison, plan_comparison, train
from ialp_rllib.compare.write import write

__all__ = ["Comparison", "Measurements", "collect", "plan_comparison", "train", "write"]

"""The report: tables, curves, and the page that says who did better."""

from ialp_rllib.report.run.page import write_report
from ialp_rllib.results.schemas import CURVES, RESULTS, check_curves, check_results

__all__ = ["CURVES", "RESULTS", "check_curves", "check_results", "write_report"]

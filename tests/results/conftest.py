"""The synthetic measurements of the tests of the reports."""

from tests.report.conftest import curves, results

__all__ = ["curves", "results"]

"""The made-up measurements of the report's tests."""

from tests.report.conftest import curves, results

__all__ = ["curves", "results"]

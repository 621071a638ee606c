"""Stage ``ranking``: tables and an HTML page of `ialp lea`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ialp_rllib.progress import Progress
from ialp_rllib.report.lea.write import write_ranking
from ialp_rllib.stages.run import RunFolder


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Collect the ranks of all rows and seeds: see :func:`.write.write_ranking`."""
    return write_ranking([run], folder)

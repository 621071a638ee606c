"""Stage ``prepare``: source files -> checked Parquet tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ialp_rllib.catalogue import read_source, write_catalogue

if TYPE_CHECKING:
    from ialp_rllib.stages.pipeline import Run
    from ialp_rllib.stages.progress import Progress


def run(run: Run, folder: Path, progress: Progress) -> dict[str, Any]:
    """Read, check, split and write the catalogue. Returns its size and notes."""
    catalogue = read_source(run.settings.catalogue)
    write_catalogue(catalogue, folder)
    per_user = np.diff(catalogue.offsets())
    return {
        "items": catalogue.n_items,
        "users": catalogue.n_users,
        "interactions": len(catalogue.item),
        "median_interactions_per_user": float(np.median(per_user)),
        "test_users": len(catalogue.test_users),
        "notes": list(catalogue.notes),
    }

"""Stage ``prepare``: source files -> checked Parquet tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ialp_rllib.catalogue.describe import describe
from ialp_rllib.catalogue.disk import write_catalogue
from ialp_rllib.catalogue.ratings import check_rated
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.progress import Progress
from ialp_rllib.stages.run import RunFolder


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Read, check, filter, split and write the catalogue.

    Returns:
        Its figures (:func:`.describe.describe`), and as ``beside_published`` its sizes beside those that the
        settings name as published: ``{"items": {"ours": 4344, "published": 5814, "ratio": 0.747}, ...}``.
    """
    settings = run.settings.catalogue
    catalogue = read_source(settings, folder / "work")
    check_rated(catalogue, run.settings.judge.min_rating)
    write_catalogue(catalogue, folder)
    facts = describe(catalogue)
    facts["median_interactions_per_user"] = facts["sequence_length"]["median"]
    published = {name: getattr(settings.published, name) for name in ("items", "users", "interactions")}
    facts["beside_published"] = {
        name: {"ours": facts[name], "published": size, "ratio": round(facts[name] / size, 3)}
        for name, size in published.items()
        if size
    }
    return facts

"""Stage ``report``: tables, figures and an HTML page from the measurements of all methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ialp_rllib.progress import Progress
from ialp_rllib.report.audit.sentences import alert
from ialp_rllib.report.run.page import write_report
from ialp_rllib.settings import departures, to_dict
from ialp_rllib.stages.gather import gather, notes, versions
from ialp_rllib.stages.run import RunFolder, needed_stages


def alerts(judge: dict[str, Any], distil: dict[str, Any]) -> list[str]:
    """What makes the results of a run worthless, from the facts of its stages ``tune`` and ``distil``."""
    same = distil.get("same_answer", "")
    sentences = [
        alert(judge),
        f"{same[0].upper()}{same[1:]}: the preference table holds nothing to learn." if same else "",
    ]
    return [sentence for sentence in sentences if sentence]


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Collect the results of the stages and write ``results.parquet``, ``curves.parquet`` and ``index.html``."""
    settings = run.settings
    results, curves = gather(run)
    stages = []
    for name in needed_stages(settings)[:-1]:
        manifest = run.stage(name).manifest()
        if manifest:
            size = sum(record["bytes"] for record in manifest["files"].values())
            reused = name not in progress.ran
            stages.append({"name": name, "seconds": manifest["seconds"], "bytes": size, "reused": reused})
    judge = run.facts("tune") if "tune" in needed_stages(settings) else {}
    distil = run.facts("distil") if "distil" in needed_stages(settings) else {}
    write_report(
        folder,
        scenario=settings.scenario,
        results=results,
        curves=curves,
        judge=judge or None,
        users=run.facts("users"),
        settings=to_dict(settings),
        versions=versions(),
        notes=[*run.facts("prepare").get("notes", []), *notes(settings, distil)],
        stages=stages,
        departures=departures(settings),
        alerts=alerts(judge, distil),
    )
    return {"rows": results.num_rows}

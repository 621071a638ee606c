"""Stage ``report``: tables, figures and an HTML page from the measurements of all methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ialp_rllib.judge.distillation.preferences import TABLE, read_part, wave_files
from ialp_rllib.progress import Progress
from ialp_rllib.report.audit.sentences import alert
from ialp_rllib.report.kit.names import titles_of
from ialp_rllib.report.run.examples import Examples, chosen_prompts, example_sessions, item_names, judge_examples
from ialp_rllib.report.run.page import write_report
from ialp_rllib.results.sessions import read_sessions
from ialp_rllib.settings import departures, to_dict
from ialp_rllib.stages.adapt import job_stage
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


def examples(run: RunFolder) -> Examples:
    """Sessions of each method's first seed, and prompts of the preference table, as far as the run has them."""
    seed, parts = run.settings.seeds[0], []
    for method in run.settings.adapt.methods:
        path = job_stage(run, method, seed).folder / "sessions.parquet"
        if path.is_file():
            parts.append(read_sessions(path).to_pandas().assign(method=method))
    sessions = pd.concat(parts, ignore_index=True) if parts else None
    asked = "distil" in needed_stages(run.settings) and (run.root / "distil" / TABLE).is_file()
    prompts = chosen_prompts(read_part(wave_files(run.root / "distil")[0])) if asked else []
    items = [item for row in prompts for item in (*row["history"], *row["candidates"])]
    if sessions is not None:
        items += [*sessions["item"], *sessions["start"]]
    catalogue = run.catalogue
    names = item_names(catalogue.item_ids, catalogue.item_texts, map(int, items))
    with titles_of({run.settings.scenario: to_dict(run.settings)}):
        shown = [] if sessions is None else example_sessions(sessions, names, catalogue.user_ids)
    return Examples(shown, judge_examples(prompts, names, catalogue.user_ids))


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
    prepare = run.facts("prepare")
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
        notes=[*prepare.get("notes", []), *notes(settings, distil)],
        stages=stages,
        departures=departures(settings),
        alerts=alerts(judge, distil),
        data=prepare,
        examples=examples(run),
    )
    return {"rows": results.num_rows}

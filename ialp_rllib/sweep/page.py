"""The page of a sweep: one self-contained HTML file in the report's style."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ialp_rllib.compare.variants import Variant, format_value
from ialp_rllib.report.kit.formatting import format_count, format_number
from ialp_rllib.report.kit.names import label
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.sweep import figures
from ialp_rllib.sweep.final import UNCHANGED, difference
from ialp_rllib.sweep.plan import Sweep
from ialp_rllib.sweep.results import Results

_SHOWN = 40  # trials in the table; all are in trials.parquet


def render(sweep: Sweep, results: Results) -> str:
    """The page as HTML."""
    study, trials = sweep.study, results.trials
    several = [key for key in sweep.space if trials[key].map(format_value).nunique() > 1]
    curves = [figures.response(trials, key, sweep.space[key], sweep.measure) for key in several]
    wide = []
    if len(several) > 1:
        wide.append(figures.parallel(trials, {key: sweep.space[key] for key in several}, sweep.measure))
    if len(sweep.rungs) > 1:
        curves.append(figures.halving(results.rungs, trials, sweep.measure))
    return render_template(
        Path(__file__).with_name("sweep.html.j2"),
        title=study.question or f"{label(study.method)}: {', '.join(sweep.space)}",
        scenario=study.scenario,
        finding=finding(sweep, results),
        remarks=remarks(sweep, results),
        keys=list(sweep.space),
        rows=[_row(sweep, row) for row in trials.head(_SHOWN).to_dict("records")],
        hidden=max(0, len(trials) - _SHOWN),
        metric=study.metric,
        figures=curves,
        wide=wide,
        final=_final_rows(results),
        facts=_facts(sweep, results),
    )


def finding(sweep: Sweep, results: Results) -> str:
    """The winner in a sentence; no verdict where none was measured."""
    best, study = results.trials.iloc[0], sweep.study
    text = (
        f"Of {len(results.trials)} trials of {label(study.method)}, {Variant(results.best).label} has the highest "
        f"{study.metric} in the validation world: {format_number(best['mean'])}, mean of {study.seeds} seeds."
    )
    if results.final is None:
        return text + " It was not measured again: being the highest of many, this number is too high."
    if sweep.settings(results.best) == sweep.settings():
        return text + " These are the unchanged settings."
    value, low, high = difference(results.final)
    interval = "" if study.seeds < 2 else f" [{format_number(low)}, {format_number(high)}]"
    return (
        f"{text} With seeds that had no part in the choice, in the test world, it differs from the unchanged settings "
        f"by {format_number(value)}{interval}."
    )


def remarks(sweep: Sweep, results: Results) -> list[str]:
    """What a reader must know of these numbers."""
    texts = []
    close = results.trials[(~results.trials["stopped"]) & (results.trials["high"] >= results.trials["mean"].iloc[0])]
    if len(close) > 1:
        texts.append(
            f"The intervals of {len(close)} trials reach up to the winner's mean: it is hardly the only good one."
        )
    if sweep.study.seeds < 5:
        texts.append("Fewer than five seeds: no verdict.")
    if equal := sweep.trials - len(results.trials):
        texts.append(f"{equal} of {sweep.trials} trials proposed the values of another one: they are one row each.")
    stopped = int(results.trials["stopped"].sum())
    if stopped:
        share = results.spent / results.total
        texts.append(
            f"{stopped} trials were stopped early; {share:.0%} of the environment steps of all trials were spent."
        )
    return texts


def _row(sweep: Sweep, row: dict[str, Any]) -> dict[str, Any]:
    interval = f"{format_number(row['low'])} to {format_number(row['high'])}" if sweep.study.seeds > 1 else ""
    return {
        "values": [format_value(row[key]) for key in sweep.space],
        "mean": format_number(row["mean"]),
        "interval": interval,
        "env_steps": format_count(row["env_steps"]),
        "stopped": bool(row["stopped"]),
    }


def _final_rows(results: Results) -> list[dict[str, str]]:
    if results.final is None:
        return []
    names = sorted(results.final["settings"].unique(), key=lambda name: name == UNCHANGED)
    parts = {name: results.final[results.final["settings"] == name] for name in names}
    return [
        {
            "settings": name,
            "mean": format_number(part["value"].mean()),
            "by_seed": ", ".join(format_number(value) for value in part.sort_values("seed")["value"]),
        }
        for name, part in parts.items()
    ]


def _facts(sweep: Sweep, results: Results) -> list[tuple[str, str]]:
    study = sweep.study
    space = "; ".join(
        f"{key}: {values if not isinstance(values, list) else _texts(values)}" for key, values in sweep.space.items()
    )
    rungs = ", ".join(format_count(rung) for rung in sweep.rungs)
    return [
        ("Method", label(study.method)),
        ("Varied", space),
        ("Search", study.search + (f", seed {study.seed}" if study.search != "grid" else "")),
        (
            "Stopping",
            study.stop + (f", reduction {study.reduction}, compared at {rungs} steps" if len(sweep.rungs) > 1 else ""),
        ),
        ("Metric", f"{study.metric}, greedy policy, validation world, mean of seeds 0 to {study.seeds - 1}"),
        ("Environment steps", f"{format_count(results.spent)} of {format_count(results.total)}"),
        ("Further settings", ", ".join(sweep.overrides) or "none"),
    ]


def _texts(values: list[Any]) -> str:
    return ", ".join(format_value(value) for value in values)

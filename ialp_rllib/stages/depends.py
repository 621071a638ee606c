"""What each stage depends on: the stages before it, and the part of the settings that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ialp_rllib.agent.methods import chosen_methods, method, options
from ialp_rllib.settings import RATINGS, AgentSettings, OracleSettings, Settings
from ialp_rllib.stages.content import model_content, plugin_content
from ialp_rllib.stages.lea.rows import served_row
from ialp_rllib.stages.vectors import by_content
from ialp_rllib.storage import require_intact


def judge_settings(settings: Settings) -> Any:
    """The judge's settings without those that affect only where and how fast it runs, or that only another judge reads.

    The model stands in them by its content: a judge that was retrained into the same folder is another judge.
    """
    where: dict[str, Any] = {
        "replicas": 1,
        "cpus": 0,
        "gpus": 0.0,
        "tensor_parallel": 1,
        "memory_share": 1.0,
        "cache": "",
        "allow_chance": False,
        "shortlist": 2,  # of one method, which reads it by itself
    }
    speed: dict[str, Any] = {"batch": 1, "batch_tokens": 64, "timeout": 1.0, "retries": 0, "hourly_price": 0.0}
    tune = replace(settings.judge.tune, checkpoint_every=1, max_skipped=0)
    oracle = settings.judge.oracle
    if not settings.judge.is_oracle:  # of the oracle's settings the judge `ratings` reads one, others none
        none_below = oracle.none_below if settings.judge.kind == RATINGS else OracleSettings.none_below
        oracle = OracleSettings(none_below=none_below)
    model = model_content(settings.judge.model)
    return replace(settings.judge, model=model, tune=tune, oracle=oracle, **where, **speed)


def distil_settings(settings: Settings) -> list[Any]:
    """What distillation depends on besides the judge: of an index only where proposals look items up in it."""
    plan = asdict(settings.distil)
    if settings.distil.rounds == 1:
        del plan["rounds"]
    few = settings.agent.candidates
    index = [few.count, few.index, few.probes] if few.count else []
    return [plan, settings.pretrain.mode, *([] if settings.distil.is_uniform else ["inclusion", *index])]


def tuning_data(settings: Settings) -> list[str | None]:
    """Fingerprints of the other runs' data that the judge is tuned on; None for data that are not prepared yet."""
    manifests = [require_intact(Path(run).expanduser() / "prepare") for run in settings.judge.tune.also]
    return [manifest["fingerprint"] if manifest else None for manifest in manifests]


def own_settings(settings: Settings) -> list[Any]:
    """What the methods of the run read besides the settings that all of them read, and the sources of plugins."""
    methods = settings.adapt.methods
    return [*(options(settings, method(name)) for name in methods), plugin_content(settings, methods)]


def always(*names: str) -> Callable[[Settings], tuple[str, ...]]:
    return lambda settings: names


def judge_needs(*names: str) -> Callable[[Settings], tuple[str, ...]]:
    """Stages that a judge reads: an oracle needs the fitted users, an LLM does not."""
    return lambda settings: ("prepare", *(("users",) if settings.judge.is_oracle else ()), *names)


def adapt_needs(settings: Settings) -> tuple[str, ...]:
    """Methods that start from random weights and choose items themselves need no judge."""
    methods = chosen_methods(settings).values()
    judge = ("tune",) if any(m.judge_online for m in methods) else ()
    starts = {m.start for m in methods} - {""}
    if "recommend" in starts:
        served_row(settings.lea)  # refuses what cannot act before the stages before it have run
    return ("prepare", "users", *judge, *sorted(starts))


def pretrain_needs(settings: Settings) -> tuple[str, ...]:
    """Listwise pre-training asks the validation world where there is a temperature to choose."""
    pretrain = settings.pretrain
    chooses = pretrain.loss == "listwise" and len(pretrain.listwise.temperatures) > 1
    teacher = ("recommend",) if pretrain.source == "lea" and served_row(settings.lea) else ()
    return ("prepare", *(("users",) if chooses else ()), "distil", *teacher)


def agent_settings(agent: AgentSettings, settings: Settings) -> dict[str, Any]:
    """What training depends on of the agent: of an index only where there are candidates."""
    values = asdict(by_content(agent, settings))
    if not agent.candidates.count:
        del values["candidates"]
    return values


def pretrain_settings(settings: Settings) -> list[Any]:
    """What pre-training depends on."""
    listwise = settings.pretrain.loss == "listwise"
    chosen = (settings.evaluate.seed, settings.users.world) if listwise else None
    return [agent_settings(settings.pretraining_agent, settings), settings.pretrain, chosen]


_NETWORK = (
    *("dim", "blocks", "heads", "item_attributes", "item_vectors", "history", "feedback", "mask_recent"),
    *("shared_encoder", "dueling", "gradient_clip", "block_items"),
)


def warm_settings(settings: Settings) -> list[Any]:
    """What the warm start depends on: the agent's networks, and how they are trained and given a temperature."""
    return [_network(settings), settings.warm, settings.evaluate.seed]


def joint_settings(settings: Settings) -> list[Any]:
    """What the joint start depends on: as the warm start, and on how the judge's answers are generalised."""
    model = (settings.pretrain.preference_model, bool(settings.agent.candidates.count))
    return [_network(settings), settings.joint, model, settings.evaluate.seed]


def _network(settings: Settings) -> dict[str, Any]:
    known = by_content(settings.agent, settings)
    few = {"candidates": known.candidates} if known.candidates.count else {}
    return {**{name: getattr(known, name) for name in _NETWORK}, **few}

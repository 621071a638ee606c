"""Stage ``pretrain``: iALP, from the preference table or against the living judge (Algorithm 1).

With ``pretrain.loss=listwise`` the actor learns from the table's soft labels first (:mod:`.listwise`), and what RLlib
trains is the critic of that policy.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib import runtime
from ialp_rllib.agent import trainer
from ialp_rllib.agent.envs.judge import JudgeVectorEnv
from ialp_rllib.agent.policy.saved import WEIGHTS
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.agent.rllib.critic import CriticModule
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import Answers
from ialp_rllib.judge.distillation.distil import session_starts
from ialp_rllib.judge.protocol import PendingAnswers, PreferenceJudge
from ialp_rllib.progress import Progress
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.depends import pretrain_settings
from ialp_rllib.stages.judges import judge_for_jobs
from ialp_rllib.stages.listwise import join_curves, join_facts, learn_actor
from ialp_rllib.stages.run import JOB_FILES, LISTWISE, RunFolder
from ialp_rllib.stages.training import ORPHAN_SECONDS, base_config, run_jobs
from ialp_rllib.storage import Stage, locked


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Pre-train one policy per seed."""
    settings = run.settings
    runtime.start(settings.runtime)
    stages = {seed: _seed_stage(run, folder, seed) for seed in settings.seeds}
    left = [seed for seed, stage in stages.items() if not stage.up_to_date()]
    pretrain = settings.pretrain
    facts: dict[str, Any] = {"mode": pretrain.mode, "loss": pretrain.loss, "updates": pretrain.updates}
    if pretrain.loss == "listwise":
        facts["updates"] = pretrain.critic_updates
    if not left:
        return facts
    judge = _live_judge(run) if pretrain.mode == "live" else None
    try:
        jobs = [(settings, str(run.root), stages[seed], seed, judge) for seed in left]
        folders = [(f"iALP, seed {seed}", stages[seed].folder) for seed in left]
        run_jobs(train_job, jobs, folders, progress, runtime.of_training(settings.runtime))
        if judge is not None and judge.engines:
            usage = judge.usage()
            facts |= {"prompts": usage.prompts, "tokens": usage.tokens, "engine_seconds": usage.seconds}
    finally:
        if judge is not None:
            judge.close()
    return facts


def _seed_stage(run: RunFolder, folder: Path, seed: int) -> Stage:
    before = run.fingerprints.before("pretrain")
    print_ = fingerprint(before, pretrain_settings(run.settings), seed)
    return Stage(folder / f"seed-{seed}", f"pretrain seed {seed}", print_, (*JOB_FILES, f"{LISTWISE}/**"))


def _live_judge(run: RunFolder) -> PreferenceJudge:
    settings = run.settings
    if not settings.agent.updates_per_step:
        raise InputError("agent.updates_per_step", "is 0", "at least 1: pre-training lasts for so many updates")
    least = settings.distil.steps + settings.judge.candidates
    if run.catalogue.n_items < least:
        expected = f"at least distil.steps + judge.candidates = {least}"
        raise InputError("items", f"there are {run.catalogue.n_items}", expected)
    return judge_for_jobs(run)


class _NoJudge:
    """Stands where a table is learnt from: the environment then gives its spaces, and nobody steps it."""

    def submit(self, history: np.ndarray, candidates: np.ndarray, *, users: np.ndarray | None = None) -> PendingAnswers:
        raise RuntimeError("pre-training from a table asked the judge")

    def collect(self, pending: PendingAnswers) -> Answers:
        raise RuntimeError("pre-training from a table asked the judge")


def train_job(settings: Settings, root: str, stage: Stage, seed: int, judge: PreferenceJudge | None) -> list[str]:
    """One seed, in a process of its own (a Ray task)."""
    run = RunFolder(settings, Path(root))
    with locked(stage.folder, seconds=ORPHAN_SECONDS):
        if stage.up_to_date():  # who was waited for has finished it
            return []
        folder = stage.open()
        began = time.perf_counter()
        pretrain = settings.pretrain
        config = policy_config(settings, run.visible, judge, run.root / "distil")
        actor = learn_actor(run, stage, seed) if pretrain.loss == "listwise" else None
        if actor is not None:
            config.ialp(start_weights=str(actor.folder / WEIGHTS), module_class=CriticModule)
        plan = trainer.TrainingPlan(
            folder=folder,
            total=pretrain.critic_updates if actor else pretrain.updates,
            unit="updates",
            every=pretrain.log_every,
            checkpoint_every=pretrain.checkpoint_every,
            logs=run.root / "logs" / "pretrain" / f"seed-{seed}",
            method="ialp",
            item_ids=run.catalogue.item_ids,
            user_ids=run.catalogue.user_ids,
            identity=stage.fingerprint,
        )
        taken = trainer.train(config, plan, seed, threads=settings.runtime.threads)
        if actor is not None:
            learnt = actor.manifest()
            assert learnt is not None, "learn_actor finished it"
            taken = join_facts(learnt["facts"], taken)
            join_curves(actor.folder, folder)
            actor.remove()
        stage.finish({"seed": seed, **taken}, time.perf_counter() - began)
    return list(taken["warnings"])


def policy_config(settings: Settings, catalogue: Catalogue, judge: PreferenceJudge | None, table: Path) -> IALPConfig:
    """The algorithm's configuration: live against ``judge``, or, where there is none, from the preference table."""
    users, starts = session_starts(catalogue, settings.distil)
    pretrain = settings.pretrain

    def make_env(context: dict[str, Any]) -> JudgeVectorEnv:
        return JudgeVectorEnv(
            judge or _NoJudge(),
            users,
            starts,
            n_items=catalogue.n_items,
            n_users=catalogue.n_users,
            num_envs=context["num_envs"],
            candidates=settings.judge.candidates,
            steps=settings.distil.steps,
            history=context["history"],
            groups=pretrain.groups,
            rewards=pretrain.rewards,
        )

    config = base_config(settings, catalogue, make_env)
    config.ialp(agent=settings.pretraining_agent, rejected=pretrain.rejected)
    if judge is None:
        config.ialp(preferences=str(table), rewards=pretrain.rewards)
    else:
        config.ialp(candidates=settings.judge.candidates, proposals=pretrain.proposals)
        config.env_runners(num_env_runners=0)
    return config

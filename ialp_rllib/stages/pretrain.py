"""Stage ``pretrain``: iALP, from the preference table or against the living judge (Algorithm 1)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ialp_rllib import runtime
from ialp_rllib.agent import trainer
from ialp_rllib.agent.judge_env import JudgeVectorEnv
from ialp_rllib.judge.actor import RemoteJudge, start_judge
from ialp_rllib.judge.distil import session_starts
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.training import base_config, run_jobs
from ialp_rllib.stages.tune import served_model
from ialp_rllib.storage import Stage

if TYPE_CHECKING:
    from ialp_rllib.stages.pipeline import Run
    from ialp_rllib.stages.progress import Progress


def run(run: Run, folder: Path, progress: Progress) -> dict[str, Any]:
    """Pre-train one policy per seed."""
    settings = run.settings
    runtime.start(settings.runtime)
    judge = None
    if settings.pretrain.mode == "live":
        judge = start_judge(settings.judge, run.root / "prepare", served_model(run))
    jobs, places = [], []
    for seed in settings.seeds:
        place = folder / f"seed-{seed}"
        print_ = fingerprint(run.fingerprints["distil"], settings.agent, settings.pretrain, seed)
        stage = Stage(place, f"pretrain seed {seed}", print_)
        if not stage.stands():
            jobs.append((settings, str(run.root), stage, seed, judge))
            places.append((f"iALP, seed {seed}", place))
    run_jobs(train_job, jobs, places, progress)
    if judge is not None:
        judge.close()
    return {"mode": settings.pretrain.mode, "updates": settings.pretrain.updates}


class _NoJudge:
    """Stands where a table is learnt from: the environment then gives its spaces, and nobody steps it."""

    def answer(self, history: np.ndarray, candidates: np.ndarray) -> Any:
        raise RuntimeError("pre-training from a table asked the judge")


def train_job(settings: Settings, root: str, stage: Stage, seed: int, judge: RemoteJudge | None) -> None:
    """One seed, in a process of its own (a Ray task)."""
    from ialp_rllib.stages.pipeline import Run

    run = Run(settings, Path(root))
    folder = stage.open()
    began = time.perf_counter()
    catalogue = run.catalogue
    users, starts = session_starts(catalogue, settings.distil)

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
        )

    config = base_config(settings, catalogue, make_env)
    pretrain = settings.pretrain
    if judge is None:
        config.ialp(preferences=str(run.root / "distil"))
    else:
        config.ialp(propose=settings.judge.candidates, proposals=pretrain.proposals)
        config.env_runners(num_env_runners=0)
    plan = trainer.Plan(
        folder=folder,
        total=pretrain.updates,
        unit="updates",
        every=pretrain.log_every,
        checkpoint_every=pretrain.checkpoint_every,
        logs=run.root / "logs" / "pretrain" / f"seed-{seed}",
    )
    trainer.train(config, plan, seed, threads=settings.runtime.threads)
    stage.finish({"seed": seed}, time.perf_counter() - began)

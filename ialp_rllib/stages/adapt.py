"""Stage ``adapt``: every method and seed goes online (Algorithm 2), measured in the test world."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib import runtime
from ialp_rllib.agent import trainer
from ialp_rllib.agent.envs.judge_played import JudgePlayedVectorEnv
from ialp_rllib.agent.envs.judged_users import JudgedUserVectorEnv
from ialp_rllib.agent.method import Method
from ialp_rllib.agent.methods import OWN_SETTINGS, chosen_methods, has_critic, method, options, resolve
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.errors import InputError
from ialp_rllib.judge.protocol import PreferenceJudge
from ialp_rllib.progress import Progress
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.budgets import budget_settings, budgets_of
from ialp_rllib.stages.content import plugin_content
from ialp_rllib.stages.critic import critic_folder, offline_file, require_critic
from ialp_rllib.stages.depends import agent_settings, joint_settings, pretrain_settings, warm_settings
from ialp_rllib.stages.judges import judge_for_jobs
from ialp_rllib.stages.lea.recommend import part_folder, part_stage
from ialp_rllib.stages.lea.rows import served_row
from ialp_rllib.stages.run import JOB_FILES, RunFolder
from ialp_rllib.stages.training import ORPHAN_SECONDS, base_config, env_config, run_jobs
from ialp_rllib.storage import Stage, locked
from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.worlds import make_world

_NOT_SHARED = {"adapt.methods", "adapt.plugins", "adapt.budgets", *OWN_SETTINGS}


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train every (method, seed, budget) that is not finished yet, side by side."""
    settings = run.settings
    names = list(chosen_methods(settings))
    runtime.start(settings.runtime)
    stages = {
        (name, seed, budget): job_stage(run, name, seed, budget)
        for seed in settings.seeds
        for name in names
        for budget in budgets_of(settings, name)
    }
    left = [job for job, stage in stages.items() if not stage.up_to_date()]
    judge = _online_judge(run) if any(method(name).judge_online for name, _, _ in left) else None
    try:
        jobs, folders = [], []
        for name, seed, budget in left:
            stage, asked = stages[name, seed, budget], judge if method(name).judge_online else None
            jobs.append((settings, str(run.root), stage, name, seed, asked, budget))
            suffix = "" if budget == "samples" else ", equal updates"
            folders.append((f"{name}, seed {seed}{suffix}", stage.folder))
        run_jobs(train_job, jobs, folders, progress, runtime.of_training(settings.runtime))
    finally:
        if judge is not None:
            judge.close()
    return {"jobs": [str(stage.folder.relative_to(folder)) for stage in stages.values()]}


def _online_judge(run: RunFolder) -> PreferenceJudge:
    least = run.settings.users.horizon + run.settings.judge.candidates
    if run.catalogue.n_items < least:
        expected = f"at least users.horizon + judge.candidates = {least}"
        raise InputError("items", f"there are {run.catalogue.n_items}", expected)
    return judge_for_jobs(run)


def job_stage(run: RunFolder, name: str, seed: int, budget: str = "samples") -> Stage:
    """The folder of one method, seed and budget.

    Its fingerprint is its own: a method or budget added later leaves the others alone.
    """
    settings = budget_settings(run.settings, budget)
    shared = {k: v for k, v in vars(settings.adapt).items() if f"adapt.{k}" not in _NOT_SHARED}
    adapt = {**shared, **options(settings, method(name))}
    before = [run.fingerprints[stage] for stage in ("prepare", "users")]
    if method(name).pretrained:
        before += [run.fingerprints["distil"], fingerprint(pretrain_settings(settings))]
    if method(name).start == "recommend" or (method(name).pretrained and settings.pretrain.source == "lea"):
        before.append(part_stage(run, served_row(settings.lea), seed).fingerprint)
    if method(name).start == "warm":
        before.append(fingerprint(warm_settings(settings)))
    if method(name).start == "joint":
        before += [run.fingerprints["distil"], fingerprint(joint_settings(settings))]
    if method(name).judge_plays:
        before += [run.fingerprints["tune"]]
    if method(name).judge_selects:  # the fingerprint of `tune` covers the judge's settings, too
        before += [run.fingerprints["tune"], settings.pretrain.proposals]
    own = plugin_content(settings, [name])
    print_ = fingerprint(
        name, seed, budget, agent_settings(settings.agent, settings), adapt, settings.evaluate, before, own
    )
    place = Path(name) if budget == "samples" else Path(name, budget)
    return Stage(run.root / "adapt" / place / f"seed-{seed}", f"adapt {place}", print_, JOB_FILES)


def train_job(
    settings: Settings,
    root: str,
    stage: Stage,
    name: str,
    seed: int,
    judge: PreferenceJudge | None = None,
    budget: str = "samples",
    until: int = 0,
) -> list[str]:
    """One method, seed and budget, in a process of its own (a Ray task, a trial of Tune).

    Args:
        judge: who picks online, for a method that is judged.
        budget: of updates, see :mod:`.budgets`. That of equal updates ends with epoch 2.
        until: environment steps after which it is measured and paused; a later call goes on. 0: to its end.
    """
    settings = budget_settings(settings, budget)
    run, equal_samples = RunFolder(settings, Path(root)), budget == "samples"
    with locked(stage.folder, seconds=ORPHAN_SECONDS):
        if stage.up_to_date():  # who was waited for has finished it
            return []
        folder = stage.open()
        began = time.perf_counter()
        require_critic(run, name, seed)
        config = method_config(settings, run.catalogue, run.root, name, seed, judge)
        adapt = settings.adapt
        plan = trainer.TrainingPlan(
            folder=folder,
            total=adapt.env_steps if method(name).learns else 0,
            unit="env_steps",
            every=adapt.log_every,
            checkpoint_every=adapt.checkpoint_every,
            measure_at={"0": 0, "1": adapt.epoch_steps, "2": 2 * adapt.epoch_steps},
            measure_end=equal_samples,
            measure_every=settings.evaluate.every if method(name).learns else 0,
            pause_at=until,
            # of its own for every trial of a study, too
            logs=run.root / "logs" / Path(*stage.folder.parts[-2 if equal_samples else -3 :]),
            method=name,
            item_ids=run.catalogue.item_ids,
            user_ids=run.catalogue.user_ids,
            identity=stage.fingerprint,
        )
        taken = trainer.train(config, plan, seed, threads=settings.runtime.threads)
        if taken.get("paused"):
            return list(taken["warnings"])
        if method(name).judge_plays:
            taken["shortlist"] = settings.judge.shortlist if settings.judge.is_llm else run.catalogue.n_items
        stage.finish({"method": name, "seed": seed, **taken}, time.perf_counter() - began)
    return list(taken["warnings"])


def _own_features(settings: Settings, view: Catalogue, root: Path, spec: Method, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = resolve(spec.features)(settings, view, root) if spec.features else {}
    if spec.start == "recommend":
        found["recommender"] = str(part_folder(root, served_row(settings.lea), seed))
    return found


def method_config(
    settings: Settings, catalogue: Catalogue, root: Path, name: str, seed: int, judge: PreferenceJudge | None = None
) -> IALPConfig:
    """The algorithm's configuration for one method: the shared one, its start weights, and its way to act."""
    spec, view = method(name), catalogue.visible()
    evaluate = settings.evaluate
    # A judge would be asked for every temperature.
    validates = not spec.judge_online and len(evaluate.temperatures) > 1 and len(catalogue.valid_users) > 0
    splits = sorted({"train", evaluate.world, *(["valid"] if validates else [])})
    worlds = {split: make_world(catalogue, settings.users, split, root / "users") for split in splits}
    if settings.adapt.world == "measured":
        worlds["train"] = make_world(catalogue, settings.users, evaluate.world, root / "users", persons="train")

    def make_env(context: dict[str, Any]) -> UserVectorEnv | JudgedUserVectorEnv | JudgePlayedVectorEnv:
        world, feedback = worlds[context["split"]], context["feedback"]
        users = UserVectorEnv(world, context["num_envs"], context["history"], "same_step", feedback=feedback)
        if judge is None:
            return users
        if spec.judge_plays:
            popular = popularity(view, settings.judge.min_rating)
            return JudgePlayedVectorEnv(users, judge, popular, settings.judge.shortlist, settings.judge.candidates)
        return JudgedUserVectorEnv(users, judge, settings.judge.candidates)

    config = base_config(settings, view, make_env)
    adapt, critic = settings.adapt, has_critic(settings, spec)
    place = critic_folder(root, spec.start, seed) if critic else root / spec.theta / f"seed-{seed}"
    theta = str(place / "policy.safetensors") if spec.theta else ""
    goes_on = "adapt.rollout_steps" in spec.settings  # from a policy that was made before, so that there are its steps
    offline = offline_file(root, settings, spec, seed) if goes_on else ""
    start = theta if not spec.mixture or adapt.beta_init == "theta" else ""
    config.ialp(
        learns=spec.learns,
        start_weights=start,
        theta_weights=theta if spec.mixture else "",
        rollout_steps=adapt.rollout_steps if goes_on else 0,
        offline_share=adapt.offline_share if offline or (goes_on and adapt.rollout_steps) else 0.0,
        offline=offline,
        module_class=resolve(spec.module),
        objective=resolve(spec.objective),
        buffer_class=resolve(spec.buffer),
        options=options(settings, spec),
        features={**config.features, **_own_features(settings, view, root, spec, seed)},
        candidates=settings.judge.candidates if spec.judge_selects else 0,
        proposals=settings.pretrain.proposals,
        validation={"split": "valid"} if validates else {},
        temperatures=evaluate.temperatures,
        cold=tuple(np.flatnonzero(catalogue.cold).tolist()),
    )
    if not spec.learns:
        config.learners(num_gpus_per_learner=0)
    config.with_evaluation(env_config(evaluate.world, settings.agent), evaluate.episodes)
    return config

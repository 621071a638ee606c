"""What the stages ``pretrain`` and ``adapt`` share: jobs of (method, seed), each resumable, side by side on Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.tune.registry import register_env

from ialp_rllib import runtime
from ialp_rllib.agent.rllib.algorithm import IALPConfig
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.errors import InputError
from ialp_rllib.judge.judge import AnyJudge
from ialp_rllib.settings import AgentSettings, Settings
from ialp_rllib.stages.tune import judge_of
from ialp_rllib.storage import read_json

if TYPE_CHECKING:
    from ialp_rllib.progress import Progress
    from ialp_rllib.stages.pipeline import Run

ENV = "ialp-users"


def base_config(settings: Settings, catalogue: Catalogue, make_env: Callable[[dict[str, Any]], Any]) -> IALPConfig:
    """The configuration that all methods share.

    Args:
        make_env: environment creator, registered under :data:`ENV` in this process; RLlib takes it to its runners.
    """
    agent = settings.agent
    register_env(ENV, make_env)
    config = IALPConfig().environment(ENV, env_config=seen("train", agent))
    config.ialp(agent=agent, features=features(settings, catalogue), evaluation_seed=settings.evaluate.seed)
    runners = 0 if runtime.local() else settings.runtime.env_runners
    config.env_runners(num_env_runners=runners)
    config.fault_tolerance(restart_failed_env_runners=True, ignore_env_runner_failures=False)
    return config


def seen(split: str, agent: AgentSettings) -> dict[str, Any]:
    """``env_config`` of an environment: whose users, and what an observation holds."""
    return {"split": split, "history": agent.history, "feedback": agent.feedback}


def features(settings: Settings, catalogue: Catalogue) -> dict[str, Any]:
    """What the agent knows of items, where ``agent.item_attributes``, and of users, where the world shows them."""
    found: dict[str, Any] = {}
    if settings.agent.item_attributes and catalogue.item_texts:
        found["item_tokens"] = tokens_of(catalogue.item_texts)
    if settings.users.world == "rating" and catalogue.user_texts:
        found["user_codes"], found["user_sizes"] = catalogue.codes(catalogue.user_texts)
    return found


def judge_for_jobs(run: Run) -> AnyJudge:
    """This run's judge (:func:`.judge_of`), to be given to training jobs.

    Raises:
        InputError: as :func:`.judge_of`; the engines leave no CPU of this machine to the jobs,
            which would wait for one for ever.
    """
    settings = run.settings
    judge = settings.judge
    if judge.is_oracle:  # each job has one of its own
        return judge_of(run)
    runtime.start(settings.runtime)
    joined = settings.runtime.address or os.environ.get("RAY_ADDRESS")
    if not runtime.local() and not joined:  # a cluster may grow
        cpus = int(ray.cluster_resources()["CPU"])
        taken = judge.replicas * min(judge.cpus, cpus)
        if taken >= cpus:
            problem = f"{judge.replicas} replicas take all {cpus} CPUs of this machine, and training needs one"
            raise InputError("judge.replicas", problem, "fewer replicas, or fewer judge.cpus (0 is allowed)")
    return judge_of(run)


def run_jobs(
    function: Callable[..., None],
    jobs: Sequence[tuple[Any, ...]],
    folders: Iterable[tuple[str, Path]],
    progress: Progress,
) -> None:
    """Run training jobs side by side and draw their progress from the files that they leave in their folders."""
    places = list(folders)

    def poll() -> None:
        for name, folder in places:
            if (folder / PROGRESS).is_file():
                state = read_json(folder / PROGRESS)
                progress.update(name, state["done"], state["total"])

    runtime.run_jobs(function, jobs, poll=poll)
    for name, _ in places:
        progress.update(name, 1, 1)

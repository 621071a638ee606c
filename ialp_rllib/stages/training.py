"""What the stages ``pretrain`` and ``adapt`` share: jobs of (method, seed), each resumable, side by side on Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ray.tune.registry import register_env

from ialp_rllib import runtime
from ialp_rllib.agent.policy.features import features
from ialp_rllib.agent.rllib.algorithm import IALPConfig
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.progress import Progress
from ialp_rllib.settings import AgentSettings, Settings
from ialp_rllib.storage import read_json

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

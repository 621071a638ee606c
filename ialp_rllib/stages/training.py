"""What the stages ``pretrain`` and ``adapt`` share: resumable training jobs, in parallel on Ray."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ray.tune.registry import register_env

from ialp_rllib import runtime
from ialp_rllib.agent.policy.features import features
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.progress import Progress
from ialp_rllib.settings import AgentSettings, Settings
from ialp_rllib.stages.vectors import item_vectors
from ialp_rllib.storage import read_json

log = logging.getLogger(__name__)

ENV = "ialp-users"
ORPHAN_SECONDS = 180.0
"""How long a training run waits for one of a killed run, which Ray is about to end, to leave its folder.

On a worker of a cluster that has lost its head it goes on until Ray gives the head up: 60 s, and some to end. The lock
of a node that is lost itself stays until the server of shared storage notices: 90 s with NFS.
"""


def base_config(settings: Settings, catalogue: Catalogue, make_env: Callable[[dict[str, Any]], Any]) -> IALPConfig:
    """The configuration that all methods share.

    Args:
        make_env: environment creator. It is registered under :data:`ENV` here; RLlib ships it to its runners.
    """
    agent = settings.agent
    register_env(ENV, make_env)
    config = IALPConfig().environment(ENV, env_config=env_config("train", agent))
    config.ialp(
        agent=agent,
        features=features(settings, catalogue, item_vectors(settings, catalogue)),
        evaluation_seed=settings.evaluate.seed,
    )
    resources = runtime.of_training(settings.runtime)
    config.env_runners(num_env_runners=resources.actors)
    config.learners(num_learners=0, num_gpus_per_learner=resources.gpus)
    config.fault_tolerance(restart_failed_env_runners=True, ignore_env_runner_failures=False)
    return config


def env_config(split: str, agent: AgentSettings) -> dict[str, Any]:
    """``env_config`` of an environment: the user split, and the layout of an observation."""
    return {"split": split, "history": agent.history, "feedback": agent.feedback}


def run_jobs(
    function: Callable[..., Iterable[str]],
    jobs: Sequence[tuple[Any, ...]],
    folders: Iterable[tuple[str, Path]],
    progress: Progress,
    resources: runtime.Resources = runtime.ONE_CPU,
) -> None:
    """Run training jobs in parallel and report their progress from the files in their folders.

    Args:
        function: returns warnings; they are logged here, too, since what other processes log is not shown.
        resources: what each reserves.
    """
    named, seen = list(folders), set()

    def warn(texts: Iterable[str]) -> None:
        for text in texts:
            if text not in seen and not runtime.local():
                log.warning("%s", text)
            seen.add(text)

    def poll() -> None:
        for name, folder in named:
            if (folder / PROGRESS).is_file():
                state = read_json(folder / PROGRESS, ("done", "total"))
                if state["total"]:  # a method that does not learn takes no steps
                    progress.update(name, state["done"], state["total"])
                warn(state.get("warnings", ()))

    for texts in runtime.run_jobs(function, jobs, poll=poll, resources=resources):
        warn(texts)
    for name, _ in named:
        progress.update(name, 1, 1)

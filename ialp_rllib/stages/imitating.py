"""What the stages that learn by imitation share: training that resumes, a temperature, and what a policy leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq

from ialp_rllib import runtime
from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.features import features
from ialp_rllib.agent.policy.imitation import Imitation
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.agent.policy.retrieval import Retrieval
from ialp_rllib.agent.policy.saved import WEIGHTS, save_policy
from ialp_rllib.agent.policy.sources import NextItems
from ialp_rllib.agent.policy.tempering import best_temperature, divide_logits, sampled_returns
from ialp_rllib.agent.rllib.modules import fill, load_weights
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import RUN_CURVES, run_table
from ialp_rllib.settings import ImitationSettings, Settings
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.training import run_jobs
from ialp_rllib.stages.vectors import item_vectors
from ialp_rllib.storage import Stage, write_atomic, write_json
from ialp_rllib.users.simulator import World

Times = list[dict[str, float]]


def network_of(settings: Settings, catalogue: Catalogue) -> NetworkConfig:
    """The agent's networks for the items of ``catalogue``."""
    known = {**vars(settings.agent), **features(settings, catalogue, item_vectors(settings, catalogue))}
    return NetworkConfig.from_model_config(known, catalogue.n_items)


def retrieval_of(settings: Settings, catalogue: Catalogue) -> Retrieval | None:
    """Where the candidates of a policy are from that has just been trained; None: it acts on all items."""
    few = settings.agent.candidates
    return Retrieval(few, popularity(catalogue)) if few.count else None


class Learner(Protocol):
    """What is trained pass by pass, and can be saved between passes."""

    curve: list[dict[str, Any]]

    @property
    def finished(self) -> bool: ...

    def run_epoch(self) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any]) -> None: ...


def train_resumable(learner: Learner, checkpoints: Checkpoints, epochs: int, shown_in: Path | None = None) -> Times:
    """Train to the end from the newest checkpoint, with one after each pass.

    Args:
        epochs: the most passes that there may be, for the display of progress.
        shown_in: folder where progress is shown; None: that of the checkpoints.

    Returns:
        ``seconds`` and ``cpu_seconds`` so far, after each pass.
    """
    found = checkpoints.newest()
    times: Times = []
    if found is not None:
        learner.set_state(found.checkpoint.state["learner"])
        times = found.checkpoint.state["training"]["times"]
    while True:
        passes = len(learner.curve)
        done = {"done": passes, "total": epochs, "warnings": checkpoints.warnings}
        write_json((shown_in or checkpoints.folder) / PROGRESS, done)
        if learner.finished:
            return times
        began, cpu = time.perf_counter(), time.process_time()
        learner.run_epoch()
        before = times[-1] if times else {"seconds": 0.0, "cpu_seconds": 0.0}
        spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        times = [*times, {name: before[name] + spent[name] for name in spent}]
        checkpoints.save(Checkpoint({"learner": learner.state(), "training": {"times": times}}, {}), passes + 1)


def temper(
    net: ActorCritic,
    world: World | None,
    settings: ImitationSettings,
    seed: int,
    retrieval: Retrieval | None = None,
) -> dict[str, Any]:
    """Divide the actor's logits by the temperature that ``world`` chooses; without a world, or a choice, by the first.

    Args:
        world: the validation world.
        seed: of the episodes.
        retrieval: of a policy that acts on candidates, else None.

    Returns:
        ``temperature`` and ``temperatures``, the returns that it was chosen by.
    """
    choices, returns = settings.temperatures, []
    if world is not None and len(choices) > 1:
        candidates = None if retrieval is None else retrieval.candidates(net.policy)
        returns = sampled_returns(net.policy, world, choices, settings.episodes, seed, candidates)
    temperature = best_temperature(returns) if returns else choices[0]
    divide_logits(net.policy, temperature)
    return {"temperature": temperature, "temperatures": returns}


def leave(
    folder: Path,
    net: ActorCritic,
    network: NetworkConfig,
    catalogue: Catalogue,
    method: str,
    curve: list[dict[str, Any]],
    retrieval: Retrieval | None = None,
) -> None:
    """Write the policy and its learning curve, and take away what the training needed."""
    write_atomic(folder / "curves.parquet", partial(pq.write_table, run_table(curve, RUN_CURVES)))
    save_networks(folder, net, network, catalogue, method, retrieval)
    Checkpoints(folder, "").remove()
    (folder / PROGRESS).unlink(missing_ok=True)


def save_networks(
    folder: Path,
    net: ActorCritic,
    network: NetworkConfig,
    catalogue: Catalogue,
    method: str,
    retrieval: Retrieval | None = None,
) -> None:
    """Write an actor with its critic as a policy that others start from."""
    save_policy(
        folder,
        {name: tensor.contiguous() for name, tensor in net.state_dict().items()},
        method=method,
        acts="softmax",
        network=network,
        module="ialp_rllib.agent.rllib.modules:ActorCriticModule",
        item_ids=catalogue.item_ids,
        user_ids=catalogue.user_ids,
        retrieval=retrieval,
    )


def read_networks(folder: Path, network: NetworkConfig) -> ActorCritic:
    """The networks of a policy in ``folder``, in evaluation mode.

    Raises:
        InputError: they are those of other settings.
    """
    net, path = ActorCritic(network), str(folder / WEIGHTS)
    fill(net, load_weights(path), path)
    return net.eval()


def logged_items(catalogue: Catalogue, network: NetworkConfig) -> tuple[NextItems, NextItems]:
    """The next items of the log that agents may see, and those of the validation users, to stop by."""
    view = catalogue.visible()
    held_out = NextItems.of(catalogue.of_users(catalogue.valid_users), catalogue.valid_users, network)
    return NextItems.of(view, view.train_users, network), held_out


def run_seeds(
    run: RunFolder,
    stages: Mapping[int, Stage],
    train_job: Callable[..., Iterable[str]],
    name: str,
    progress: Progress,
) -> dict[int, dict[str, Any]]:
    """Train the seeds whose parts ``stages`` are not up to date, side by side. Returns the facts of all, by seed."""
    settings = run.settings
    runtime.start(settings.runtime)
    left = [seed for seed, stage in stages.items() if not stage.up_to_date()]
    jobs = [(settings, str(run.root), stages[seed], seed) for seed in left]
    folders = [(f"{name}, seed {seed}", stages[seed].folder) for seed in left]
    run_jobs(train_job, jobs, folders, progress)
    manifests = {seed: stage.manifest() for seed, stage in stages.items()}
    return {seed: manifest["facts"] for seed, manifest in manifests.items() if manifest}


def points(learner: Imitation, times: Times) -> list[dict[str, Any]]:
    """The learning curve in the columns that all training runs have; the loss is the actor's."""
    return [
        {"series": "train", "env_steps": 0, "updates": row["updates"], "actor_loss": row["train_loss"], **spent}
        for row, spent in zip(learner.curve, times, strict=True)
    ]


def what_it_took(learner: Imitation, times: Times) -> dict[str, Any]:
    """Facts of a finished training."""
    return {
        "updates": learner.curve[-1]["updates"],
        "best_epoch": learner.best,
        "curve": learner.curve,
        "train_seconds": times[-1]["seconds"],
    }

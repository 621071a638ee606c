"""What one training asks Ray for, and its share of a GPU.

The task that trains holds the GPU, since the learner lives in it; the actors that simulate its users take one CPU each,
on its node where they fit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from ialp_rllib.errors import InputError
from ialp_rllib.runtime.services import growth, local, of_nodes
from ialp_rllib.settings import RuntimeSettings

log = logging.getLogger(__name__)


class Resources(NamedTuple):
    """Of one job or trial, beside the CPU of its process.

    Attributes:
        gpus: a share of one GPU, or 1.
        actors: actors of one CPU each that it starts.
    """

    gpus: float = 0.0
    actors: int = 0

    @property
    def bundles(self) -> list[dict[str, float]]:
        """Of a placement group: first that of the process itself."""
        own = {"CPU": 1.0, **({"GPU": self.gpus} if self.gpus else {})}
        return [own, *[{"CPU": 1.0}] * self.actors]


ONE_CPU = Resources()
_NODES = (
    "a node with them must be part of the cluster before the run starts, or be added by its autoscaler within "
    "runtime.autoscaler_wait seconds"
)


def of_training(settings: RuntimeSettings) -> Resources:
    """What one training run needs: ``learner_gpus`` and ``env_runners``."""
    return Resources(settings.learner_gpus, 0 if local() else settings.env_runners)


def require(resources: Resources) -> None:
    """Ray would wait for ever for what no node has; a cluster that grows is waited for (``runtime.autoscaler_wait``).

    Raises:
        InputError: more GPUs than any node has; with actors, more CPUs than all nodes have.
    """
    _require(resources.bundles, _lacking_gpus("runtime.learner_gpus", resources.gpus) or _lacking_cpus(resources))


def require_gpus(setting: str, each: float, processes: int = 1) -> None:
    """Check that Ray has GPUs for all of so many processes at once, or gets them from its autoscaler in time.

    Args:
        setting: name of the setting of ``each``, for the message.
        each: GPUs of one process, which must be on one node.
        processes: how many there are.

    Raises:
        InputError: it has not.
    """
    _require([{"GPU": each}] * processes, _lacking_gpus(setting, each, processes))


def _require(bundles: Sequence[dict[str, float]], lacking: InputError | None) -> None:
    """Ask the cluster's autoscaler for what is lacking: a placement group that no node can hold makes it add nodes.

    Raises:
        InputError: ``lacking``, where they have not come in time.
    """
    if lacking is None:
        return
    if not growth():
        raise lacking
    log.warning("%s %s. Waiting up to %g s for nodes that the cluster adds.", lacking.where, lacking.problem, growth())
    group = _group(bundles)
    try:
        if not group.wait(timeout_seconds=growth()):
            expected = f"nodes that the autoscaler adds: none came within runtime.autoscaler_wait, {growth():g} s"
            raise InputError(lacking.where, lacking.problem, expected)
    finally:
        release(group)


def _lacking_gpus(setting: str, each: float, processes: int = 1) -> InputError | None:
    if not each or local():
        return None
    nodes = of_nodes("GPU")
    most, fitting = max(nodes, default=0.0), sum(_room(gpus, each) for gpus in nodes)
    if fitting >= processes:
        return None
    if most < each:
        return InputError(setting, f"is {each:g}, and the largest node of Ray has {most:g} GPUs", _NODES)
    problem = f"is {each:g} for each of {processes} processes, and Ray has room for {fitting}"
    return InputError(setting, problem, f"fewer of them, or a smaller share; {_NODES}")


def _lacking_cpus(resources: Resources) -> InputError | None:
    if not resources.actors or local():
        return None
    cpus, needed = sum(of_nodes("CPU")), 1 + resources.actors
    if cpus >= needed:
        return None
    problem = f"is {resources.actors}: with its own a training takes {needed} CPUs, and Ray has {cpus:g}"
    return InputError("runtime.env_runners", problem, f"at most {max(0, int(cpus) - 1)}; {_NODES}")


def _room(gpus: float, each: float) -> int:
    """Processes that a node has room for: a share lies on one GPU."""
    return int(gpus) * int(1 / each + 1e-6) if each < 1 else int(gpus / each)


def hold_gpu(share: float) -> None:
    """Before a process computes on its GPU: check that it is there, and take no more memory than its share.

    Args:
        share: of one GPU; 0: the process computes on the CPU.

    Raises:
        InputError: torch finds no GPU here.
    """
    if not share:
        return
    import torch

    if not torch.cuda.is_available():
        expected = "0, or a CUDA build of torch and a working driver on every node with GPUs (`ialp doctor` there)"
        raise InputError("runtime.learner_gpus", f"is {share:g}, but torch finds no GPU", expected)
    limit_memory(share)


def limit_memory(share: float) -> None:
    """Let torch take no more than a share of the GPU's memory in this process, so that others have theirs."""
    import torch

    if 0 < share < 1 and torch.cuda.is_available() and not local():  # in local mode, all are in the same process
        torch.cuda.set_per_process_memory_fraction(share)


def placement(resources: Resources) -> Any:
    """A placement group of one job with actors: all on one node where they fit."""
    return _group(resources.bundles)


def _group(bundles: Sequence[dict[str, float]]) -> Any:
    from ray.util.placement_group import placement_group

    return placement_group(list(bundles), strategy="PACK")


def task_options(resources: Resources, group: Any = None) -> dict[str, Any]:
    """Options of the Ray task that is a job; in its placement group, so are the actors that it starts."""
    options: dict[str, Any] = {"num_cpus": 1, "num_gpus": resources.gpus}
    if group is not None:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
        )
    return options


def release(group: Any) -> None:
    """Give a placement group back; None: nothing."""
    from ray.util.placement_group import remove_placement_group

    if group is not None:
        remove_placement_group(group)

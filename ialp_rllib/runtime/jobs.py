"""Jobs in parallel: functions as Ray tasks, and experiments of Ray Tune."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray

from ialp_rllib.errors import InputError
from ialp_rllib.runtime.failures import explain
from ialp_rllib.runtime.quiet import quiet
from ialp_rllib.runtime.resources import ONE_CPU, Resources, placement, release, require, task_options
from ialp_rllib.runtime.services import get, local, without_ray

RETRIES = 2
"""How often Ray starts a job again whose process or node was lost. An exception of the job itself is not retried."""
TRIAL_FAILURES = 3
"""How often Ray Tune starts a trial again that failed, from its last checkpoint."""


class Search(NamedTuple):
    """How Ray Tune chooses and stops trials.

    Attributes:
        samples: number of trials that ``searcher`` proposes; 1: the grid of the space.
        searcher: a Ray Tune search algorithm; None: the grid of the space.
        scheduler: a Ray Tune scheduler; None: every trial runs to its end.
        metric: reported value that both maximise.
        concurrent: trials that run side by side; 0: as many as there are CPUs.
    """

    samples: int = 1
    searcher: Any = None
    scheduler: Any = None
    metric: str = ""
    concurrent: int = 0


GRID = Search()


class Fitted(NamedTuple):
    """What became of a trial.

    Attributes:
        config: its configuration; empty: it has reported nothing.
        error: why it ended; None: it did not fail.
    """

    config: dict[str, Any]
    error: BaseException | None


def fit(
    trial: Callable[[dict[str, Any]], None],
    space: dict[str, Any],
    folder: Path,
    *,
    search: Search = GRID,
    resources: Resources = ONE_CPU,
) -> list[Fitted]:
    """Run a Ray Tune experiment in ``folder``, or resume the one in it. Returns what became of each trial.

    The experiment is resumed as it was made: Ray Tune takes neither another ``search`` nor other ``resources`` from
    then on. What they depend on belongs into the name of the folder.

    A trial whose process is lost is started again, up to :data:`TRIAL_FAILURES` times. When debugging without Ray's
    local mode, the trials run one after the other in this process: a Tune trial would be a separate process without a
    terminal.

    Args:
        trial: reports to ``ray.tune``.
        space: of Ray Tune.
        search: of the trials; while debugging only grids run.
        resources: what each trial reserves.

    Raises:
        InputError: more than the cluster has, or a searcher or scheduler while debugging.
    """
    from ray import tune

    if local() and (search.searcher is not None or search.scheduler is not None):
        expected = "search=grid or random with stop=none, or no --local-mode"
        raise InputError("--local-mode", "trials run one after the other, with nothing that watches them", expected)
    if without_ray():
        return _fit_here(trial, space)
    require(resources)
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's new output prints in spite of verbose=0
    trainable = tune.with_resources(trial, tune.PlacementGroupFactory(resources.bundles))
    if tune.Tuner.can_restore(str(folder)):
        tuner = tune.Tuner.restore(
            str(folder), trainable, resume_unfinished=True, restart_errored=True, param_space=space
        )
    else:
        failures = tune.FailureConfig(max_failures=TRIAL_FAILURES)  # Tune's default is none: a lost node would be final
        config = tune.RunConfig(name=folder.name, storage_path=str(folder.parent), verbose=0, failure_config=failures)
        judged = {"metric": search.metric, "mode": "max"} if search.metric else {}
        choice = tune.TuneConfig(
            num_samples=search.samples,
            search_alg=search.searcher,
            scheduler=search.scheduler,
            max_concurrent_trials=search.concurrent or None,
            **judged,
        )
        tuner = tune.Tuner(trainable, param_space=space, run_config=config, tune_config=choice)
    # Ray Tune logs the traceback of every trial that fails; they are in its folder, and the caller gets the errors.
    with quiet("ray.tune", logging.CRITICAL):
        results = tuner.fit()
    return [Fitted(result.config or {}, explain(result.error) if result.error else None) for result in results]


def _fit_here(trial: Callable[[dict[str, Any]], None], space: dict[str, Any]) -> list[Fitted]:
    from ray import tune
    from ray.tune.search.variant_generator import generate_variants

    reporter, tune.report = tune.report, lambda *_, **__: None  # there is no trial to report to
    try:
        variants = [config for _, config in generate_variants(space)]
        for config in variants:
            trial(config)
    finally:
        tune.report = reporter
    return [Fitted(config, None) for config in variants]


def run_jobs(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    poll: Callable[[], None] = lambda: None,
    seconds: float = 0.5,
    resources: Resources = ONE_CPU,
) -> list[Any]:
    """Run ``function(*job)`` for every job, as many in parallel as there are CPUs; return the results in order.

    Args:
        poll: called about every ``seconds`` while jobs run, to report progress.
        resources: what each job reserves.

    Raises:
        InputError: more than the cluster has.
        IalpError: a process or node was lost more than :data:`RETRIES` times, or memory ran out.
    """
    if local():
        results = []
        for job in jobs:
            results.append(function(*job))
            poll()
        return results
    require(resources)
    groups = [placement(resources) if resources.actors else None for _ in jobs]
    task = ray.remote(function)
    references = [
        task.options(max_retries=RETRIES, **task_options(resources, group)).remote(*job)
        for job, group in zip(jobs, groups, strict=True)
    ]
    held = dict(zip(references, groups, strict=True))
    waiting = list(references)
    try:
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=seconds)
            poll()
            try:
                get(done)  # an error stops the run now, not after the other jobs
            except ray.exceptions.RayActorError as error:
                raise explain(error) from error
            for reference in done:
                release(held.pop(reference))
            time.sleep(0)
    finally:
        for group in held.values():
            release(group)
    return get(references)

"""Running a sweep: the stages that trials share, the trials on Ray Tune, and the winner once more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ialp_rllib import runtime
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.compare.variants import Variant, reuse_finished
from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.progress import Progress
from ialp_rllib.settings import Settings
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import locked, read_json
from ialp_rllib.sweep.final import measure_again
from ialp_rllib.sweep.plan import Sweep
from ialp_rllib.sweep.results import Results, collect
from ialp_rllib.sweep.space import tune_space
from ialp_rllib.sweep.trial import METRIC, read_record, run_trial, values_of
from ialp_rllib.sweep.write import write

_WATCH = 1.0  # seconds between two looks at the trials' progress


def run_sweep(sweep: Sweep, progress: Progress, *, final: bool = True) -> Results:
    """Run a sweep, or what is left of it, and write its tables and page.

    Args:
        sweep: the plan; it was checked.
        progress: receives the progress.
        final: whether winner and unchanged settings are measured again, with other seeds in the test world.

    Raises:
        IalpError: a trial failed, or left no result: what is finished stays, and the same call goes on.
    """
    with locked(sweep.out):
        run_shared(sweep, progress)
        runtime.start(sweep.settings().runtime)
        with progress.stage("trials"), _watched(sweep, progress):
            ran = _fit(sweep)
        results = collect(sweep, ran)
        if final:
            results = results._replace(final=measure_again(sweep, results.best, progress))
        write(sweep, results)
    return results


def run_shared(sweep: Sweep, progress: Progress) -> None:
    """The stages before online training, once for all trials that have the same ones."""
    runs: dict[Path, RunFolder] = {}
    for settings in _distinct(sweep):
        run = sweep.shared(settings)
        if run.root in runs:
            continue
        reuse_finished(run, list(runs.values()))
        run_all(run, progress, sweep.shared_stages(settings))
        runs[run.root] = run


def _distinct(sweep: Sweep) -> list[Settings]:
    return [sweep.settings(variant.values) for variant in sweep.variants] or [sweep.settings()]


def _fit(sweep: Sweep) -> list[Variant]:
    """Run the trials. Returns those that have reported something."""
    settings = sweep.settings().runtime

    def trial(config: dict[str, Any]) -> None:
        run_trial(sweep, config)

    fitted = runtime.fit(
        trial,
        _space(sweep),
        sweep.experiment,
        search=_search(sweep),
        resources=runtime.of_training(settings),
    )
    failed = [one.error for one in fitted if one.error]
    if failed:
        last = str(failed[0]).strip().splitlines()[-1]
        raise IalpError(
            f"{len(failed)} of {len(fitted)} trials failed; the first one: {last}\n"
            f"  full errors: {sweep.experiment}/*/error.txt; the same command resumes these trials"
        )
    return [Variant(values_of(sweep, one.config)) for one in fitted if one.config]


def _space(sweep: Sweep) -> dict[str, Any]:
    from ray import tune

    if sweep.study.search == "optuna":
        return tune_space(sweep.space)
    return {"trial": tune.grid_search(list(range(len(sweep.variants))))}


def _search(sweep: Sweep) -> runtime.Search:
    study, scheduler, searcher = sweep.study, None, None
    if study.stop == "asha":
        from ialp_rllib.sweep.halving import RememberedASHA

        file = sweep.out / f"rungs-{sweep.identity}.json"
        options = {"grace_period": sweep.grace, "max_t": sweep.total, "reduction_factor": study.reduction}
        scheduler = RememberedASHA(file, **options)
    if study.search == "optuna":
        searcher = _optuna(study.seed)
    samples = study.trials if searcher is not None else 1
    return runtime.Search(samples, searcher, scheduler, METRIC, study.concurrent)


def _optuna(seed: int) -> Any:
    try:
        import optuna
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise InputError("--search optuna", "is not installed", "pip install 'ialp_rllib[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaSearch(seed=seed)


@contextmanager
def _watched(sweep: Sweep, progress: Progress) -> Iterator[None]:
    """Report how far trials are, from the files in their folders, while Ray Tune runs them."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_WATCH):
            progress.update("Environment steps", *steps_done(sweep))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def steps_done(sweep: Sweep) -> tuple[int, int]:
    """Environment steps of all trials so far, and those of all of them if none is stopped."""
    known = [sweep.folder(variant.values) for variant in sweep.variants]
    done = 0
    for folder in known or (sweep.out / "trials").glob("*"):
        rungs = [int(rung) for rung in read_record(folder).get("rungs", ())]
        reached = max(rungs, default=0) * sweep.study.seeds
        states = [read_json(path)["done"] for path in folder.glob(f"seed-*/{PROGRESS}")]
        done += max(reached, sum(states))
    return done, sweep.trials * sweep.study.seeds * sweep.total

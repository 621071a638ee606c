"""Stage ``users``: logs -> the simulated users of the train, validation and test world."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from ialp_rllib import runtime
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.errors import storage_errors
from ialp_rllib.progress import Progress
from ialp_rllib.settings import Settings
from ialp_rllib.stages.run import WORLD_FILES, RunFolder
from ialp_rllib.stages.training import ORPHAN_SECONDS, run_jobs
from ialp_rllib.storage import Stage, locked, write_json
from ialp_rllib.users.actions import require_items
from ialp_rllib.users.fit import finish_worlds, fit_sequence_world, require_device, splits
from ialp_rllib.users.worlds import SPLITS

_TITLES = {"train": "Train world", "valid": "Validation world", "test": "Test world"}


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Fit the user models, those of sequence worlds side by side, and return their quality."""
    settings = run.settings
    needed = "users.horizon or agent.mask_recent"
    require_items(run.catalogue.n_items, settings.users.horizon, settings.agent.mask_recent, needed)
    require_device(settings.users)
    torch.set_num_threads(settings.runtime.threads)  # small models: more threads cost more than they give
    if settings.users.world == "sequence":
        fitted = _fit_sequence_worlds(run, progress)
    else:  # is fitted at once: what another kind of world left is not its own
        fitted = {}
        for path in (folder / split / name for split in SPLITS for name in WORLD_FILES):
            path.unlink(missing_ok=True)
    return finish_worlds(run.catalogue, settings.users, folder, fitted)


def _fit_sequence_worlds(run: RunFolder, progress: Progress) -> dict[str, dict[str, Any]]:
    """The quality of each world's model; a model that an interrupted run has finished is not fitted again."""
    stages = {split: world_stage(run, split) for split in splits(run.catalogue)}
    left = {split: stage for split, stage in stages.items() if not stage.up_to_date()}
    jobs = [(run.settings, str(run.root), stage, split) for split, stage in left.items()]
    if run.settings.runtime.local_mode:  # a debugger sees plain calls, before Ray has started
        for job in jobs:
            fit_job(*job)
    elif jobs:
        runtime.start(run.settings.runtime)
        run_jobs(fit_job, jobs, [(_TITLES[split], stage.folder) for split, stage in left.items()], progress)
    facts = {}
    for split, stage in stages.items():
        manifest = stage.manifest()
        assert manifest is not None
        facts[split] = manifest["facts"]
    return facts


def world_stage(run: RunFolder, split: str) -> Stage:
    """The part of one sequence world."""
    return Stage(run.root / "users" / split, f"users {split}", run.fingerprints.of_world(split), WORLD_FILES)


def fit_job(settings: Settings, root: str, stage: Stage, split: str) -> list[str]:
    """One world's model, in a process of its own (a Ray task)."""
    run = RunFolder(settings, Path(root))
    torch.set_num_threads(settings.runtime.threads)
    with locked(stage.folder, seconds=ORPHAN_SECONDS), storage_errors(stage.folder):
        if stage.up_to_date():  # who was waited for has finished it
            return []
        stage.open()
        began = time.perf_counter()

        def show(done: int, total: int) -> None:
            write_json(stage.folder / PROGRESS, {"done": done, "total": total})

        facts = fit_sequence_world(run.catalogue, settings.users, split, stage.folder.parent, show)
        (stage.folder / PROGRESS).unlink(missing_ok=True)
        stage.finish(facts, time.perf_counter() - began)
    return []

"""Stage ``users``: logs -> the simulated users of the train, validation and test world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ialp_rllib.progress import Progress
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.users.actions import require_items
from ialp_rllib.users.worlds import fit_users


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Fit the user models and return their quality."""
    settings = run.settings
    needed = "users.horizon or agent.mask_recent"
    require_items(run.catalogue.n_items, settings.users.horizon, settings.agent.mask_recent, needed)
    torch.set_num_threads(settings.runtime.threads)  # small models: more threads cost more than they give
    return fit_users(run.catalogue, settings.users, folder, progress.update)

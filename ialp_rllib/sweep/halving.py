"""Asynchronous successive halving that survives the end of its process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.schedulers import ASHAScheduler

from ialp_rllib.sweep.trial import STEPS


class RememberedASHA(ASHAScheduler):
    """Ray Tune's ASHA, whose rungs are kept in a file.

    Ray Tune restores trials and searcher of an experiment, but a scheduler as it was made: it would forget what the
    trials before had reached, and let the first ones after every interruption pass.

    Source: Li et al., *A System for Massively Parallel Hyperparameter Tuning*, MLSys 2020.

    Args:
        file: where the rungs are kept.
        options: of ``ASHAScheduler``.
    """

    def __init__(self, file: Path, **options: Any) -> None:
        super().__init__(time_attr=STEPS, **options)
        self._file = file
        self._is_read = False

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Read the rungs before the first trial of this process is added."""
        if not self._is_read and self._file.is_file():
            self.restore(str(self._file))
        self._is_read = True
        if trial.trial_id not in self._trial_info:
            super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide, and keep what the decision was based on."""
        decision: str = super().on_trial_result(tune_controller, trial, result)
        temporary = self._file.with_name(f".{self._file.name}.tmp")
        self.save(str(temporary))
        temporary.replace(self._file)
        return decision

"""Asynchronous successive halving that survives the end of its process."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from ialp_rllib.errors import InputError
from ialp_rllib.storage import read_json, write_json
from ialp_rllib.sweep.trial import METRIC, STEPS

_places: dict[str, Path] = {}  # name of a file -> where it is now


class RememberedASHA(ASHAScheduler):
    """Ray Tune's ASHA, whose rungs and decisions are kept in a file.

    Ray Tune restores trials and searcher of an experiment, but a scheduler as it was made: it would forget what the
    trials before had reached, and let the first ones after every interruption pass. And Ray's ASHA lets a trial go on
    that reports a rung once more, also one that it had stopped: Tune saves only now and then which trials have ended,
    so that after a kill one of them may start again. Trials are known by their configuration, since one that failed
    starts again under another id.

    Source: Li et al., *A System for Massively Parallel Hyperparameter Tuning*, MLSys 2020.

    Args:
        file: JSON with ``rungs``, environment steps -> trial -> metric there, and ``stopped``, trial -> environment
            steps at which it was stopped.
        options: of ``ASHAScheduler``, with one bracket.

    Raises:
        InputError: the file is damaged, or of other rungs.
    """

    def __init__(self, file: Path, **options: Any) -> None:
        super().__init__(time_attr=STEPS, **options)
        self._name = file.name
        _places[file.name] = file
        self._is_read = False
        self._stopped: dict[str, int] = {}

    @property
    def _file(self) -> Path:
        """Where the file is in this process: Ray Tune restores a scheduler of before the sweep's folder was moved."""
        return _places[self._name]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Read the file before the first trial of this process is added."""
        if not self._is_read and self._file.is_file():
            self._read()
        self._is_read = True
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide, and keep the decision and what it was based on; a trial that was stopped stays so."""
        name, steps = json.dumps(trial.config, sort_keys=True), int(result[STEPS])
        if steps >= min(self._stopped.get(name, self._max_t), self._max_t):
            return str(TrialScheduler.STOP)
        decision: str = self._brackets[0].on_result(SimpleNamespace(trial_id=name), steps, float(result[METRIC]))
        if decision == TrialScheduler.STOP:
            self._stopped[name] = steps
        write_json(self._file, {"rungs": self._rungs(), "stopped": self._stopped})
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Its last result has been decided on."""
        self._trial_info.pop(trial.trial_id, None)

    def _rungs(self) -> dict[str, dict[str, float]]:
        """Ray's own record: environment steps -> trial -> metric."""
        return {str(rung): seen for rung, seen in self._brackets[0]._rungs}

    def _read(self) -> None:
        kept, rungs = read_json(self._file, ("rungs", "stopped")), self._rungs()
        if set(kept["rungs"]) != set(rungs):
            expected = f"{', '.join(rungs)}; delete the file to compare the trials anew"
            raise InputError(str(self._file), f"has the rungs {', '.join(kept['rungs'])}", expected)
        for rung, seen in rungs.items():
            seen.update(kept["rungs"][rung])
        self._stopped = {name: int(steps) for name, steps in kept["stopped"].items()}

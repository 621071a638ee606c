"""What a training run measures of its policy: rows of measurements, test points of the curve, example sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.measuring import measure_training_world
from ialp_rllib.results.measures import FURTHER, MEASURES
from ialp_rllib.results.sessions import SESSION_EPOCHS


class Measurements:
    """Measurements of one training run so far.

    Attributes:
        rows: in the schema :data:`ialp_rllib.results.schemas.RUN_MEASUREMENTS`.
        sessions: in the schema :data:`ialp_rllib.results.sessions.SESSIONS`.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []

    def take(self, algorithm: IALP, epoch: str, costs: Mapping[str, float]) -> list[dict[str, Any]]:
        """Measure the policy, unless nothing has happened since it was measured: then the same numbers stand again.

        Args:
            epoch: names the rows of the result table; empty: for the curve only.
            costs: ``seconds`` and ``cpu_seconds`` of training so far.

        Returns:
            Points of the curve, one per policy; none where nothing was measured. For a policy that does not learn and
            asks no judge also one of series ``train``: what it earns in the train world, beside those that learn there.
        """
        again = bool(self.rows) and self.rows[-1]["env_steps"] == algorithm.env_steps
        algorithm.chooses_temperature = bool(epoch)  # points of the curve in between keep the latest
        results = {row["policy"]: row for row in self.rows[-2:]} if again else algorithm.evaluate()["env_runners"]
        if epoch in SESSION_EPOCHS:
            self.sessions += [{"epoch": epoch, **row} for row in algorithm.sessions]
        place = {"env_steps": algorithm.env_steps, "updates": algorithm.updates}
        points = []
        if not (again or self.rows or algorithm.config.learns or algorithm.measuring_prompts):
            earned = measure_training_world(algorithm, int(results["greedy"]["episodes"]))
            points.append({"series": "train", **place, **earned, **costs})
        for policy in ("greedy", "sampled"):
            measured = results[policy]
            values, further = (
                {name: float(measured[name]) for name in names if measured.get(name) is not None}
                for names in (MEASURES, (*FURTHER, "temperature"))
            )
            row = {"epoch": epoch, **place, "policy": policy, "episodes": int(measured["episodes"])}
            self.rows.append({**row, **values, **further, "seconds": costs["seconds"]})
            alpha = algorithm.progress()["alpha"]
            points.append({"series": f"test_{policy}", **place, "alpha": alpha, **values, **costs})
        return [] if again else points

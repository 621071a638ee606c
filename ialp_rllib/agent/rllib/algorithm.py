"""The RLlib algorithm of all methods: columnar sampling and replay, updates, and weight synchronisation.

Methods (see :mod:`ialp_rllib.agent.methods`) differ in the module, the objective, the buffer, the initial weights and
their settings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from ialp_rllib.agent.policy.balanced import BalancedReplay, read_transitions
from ialp_rllib.agent.policy.replay import ColumnarReplay, TransitionBuffer, preference_transitions
from ialp_rllib.agent.rllib import private, weights
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.agent.rllib.runner import ColumnBatch, restore_rollouts
from ialp_rllib.agent.rllib.state import counters, plays, set_counters

RECENT_EPISODES = 20  # number of latest episodes that points of the learning curve average over (paper, figures)


class IALP(Algorithm):
    """Trains a recommendation policy on an environment, a judge, or a preference table."""

    config: IALPConfig

    @classmethod
    def get_default_config(cls) -> IALPConfig:
        return IALPConfig()

    def __repr__(self) -> str:  # RLlib's fails where the configuration was refused, and hides the reason
        return f"IALP(env={self.config.env!r})" if self.config is not None else "IALP()"

    def setup(self, config: IALPConfig) -> None:
        super().setup(config)
        config = self.config
        seed = config.seed or 0
        self.replay: TransitionBuffer
        if config.preferences:
            pad = int(self.env_runner.env.single_action_space.n)
            table = preference_transitions(Path(config.preferences), config.agent.history, pad, config.rewards)
            self.replay = ColumnarReplay(len(table["actions"]), seed, config.rejected)  # holds the complete table
            self.replay.add(table)
        elif config.rejected:
            self.replay = ColumnarReplay(config.agent.replay, seed, config.rejected)
        else:
            self.replay = config.buffer_class.from_settings(config.agent, seed)
        if config.offline_share:
            start = read_transitions(Path(config.offline)) if config.offline else None
            self.replay = BalancedReplay(self.replay, config.offline_share, start, config.rollout_steps, seed)
        self.env_steps = self.updates = self.judge_prompts = 0
        self.measuring_prompts = 0  # asked in evaluations of this process
        self.judge_seconds = self.reward_sum = 0.0
        self.temperature, self.chooses_temperature = 1.0, True  # of the sampled policy in evaluations
        self.sessions: list[dict[str, Any]] = []  # of the greedy policy in the latest evaluation
        self._learnt = False  # since the last report
        self.rounds = config.rounds
        self.recent: deque[tuple[float, int]] = deque(maxlen=RECENT_EPISODES)
        weights.push(self.learner_group, self.env_runner_group, self.eval_env_runner_group)
        self._shared = weights.share(self.learner_group, self.env_runner_group)

    # ---- training

    def step(self) -> dict[str, Any]:
        """One iteration, as in RLlib; the means of return and length are those of the latest episodes.

        They are in every result, because Tune ends a study whose metric is missing in one, and NaN only before the
        first episode has ended: RLlib's own are missing in iterations in which none ends.
        """
        results: dict[str, Any] = super().step()
        returns, lengths = zip(*self.recent, strict=True) if self.recent else ((np.nan,), (np.nan,))
        means = {EPISODE_RETURN_MEAN: float(np.mean(returns)), EPISODE_LEN_MEAN: float(np.mean(lengths))}
        results[ENV_RUNNER_RESULTS] = {**results.get(ENV_RUNNER_RESULTS, {}), **means}
        return results

    def training_step(self) -> None:
        """Run ``rounds`` rounds: one step of all environments, the updates that are due, and weight synchronisation."""
        config = self.config
        from_table = bool(config.preferences)
        for _ in range(1 if from_table else self.rounds):
            if not from_table:
                with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
                    self._collect()
            waits = self.env_steps < config.rollout_steps  # the policy of the start acts, which no update has changed
            count = self.rounds if from_table else 0 if waits else self.replay.updates_due(config.agent)
            if not config.learns or not count:
                continue
            with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
                self._update(count)
            if not (from_table or self._shared):
                with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
                    weights.sync(self.learner_group, self.env_runner_group)
        self._report()

    def _collect(self) -> None:
        group = self.env_runner_group
        if group.num_remote_env_runners() == 0:
            parts = [group.local_env_runner.sample()]
        else:  # a dead runner returns nothing; the group restarts it
            parts = group.foreach_env_runner(
                lambda runner: runner.sample(),
                local_env_runner=False,
                timeout_seconds=self.config.sample_timeout_s,
            )
        for batch in (b for part in parts for b in part):
            self._store(batch)

    def _store(self, batch: ColumnBatch) -> None:
        if self.config.learns:
            self.replay.add(batch.columns, batch.runner)
        self.env_steps += batch.env_steps()
        self.reward_sum += float(np.sum(batch.columns[Columns.REWARDS], dtype=np.float64)) if batch.columns else 0.0
        self.judge_prompts, self.judge_seconds = self.judge_prompts + batch.prompts, self.judge_seconds + batch.seconds
        self.recent.extend(zip(batch.returns.tolist(), batch.lengths.tolist(), strict=True))

    def _update(self, count: int) -> None:
        size = self.config.agent.batch
        rows = self.replay.sample(count * size)
        batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(rows)}, env_steps=count * size)
        self.learner_group.update(
            batch=batch,
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.env_steps},
            minibatch_size=size if count > 1 else None,
        )
        self.updates += count
        self._learnt = True

    def _report(self) -> None:
        if not self.config.preferences:
            parts = self.env_runner_group.foreach_env_runner(
                lambda runner: runner.get_metrics(),
                local_env_runner=self.env_runner_group.num_remote_env_runners() == 0,
            )
            self.metrics.aggregate(parts, key=ENV_RUNNER_RESULTS)
        if self._learnt:
            results = [result.get() for result in self.learner_group.foreach_learner(lambda learner: learner.report())]
            self.metrics.aggregate(results, key=LEARNER_RESULTS)
            self._learnt = False

    def progress(self) -> dict[str, float | int | None]:
        """Progress of training, as in a point of the learning curve.

        Returns:
            ``env_steps`` and ``updates`` so far; ``alpha``, None without a mixture; ``return``, ``length`` and
            ``reward_per_step``, means over the latest episodes, None before the first one; ``reward_sum`` of all steps
            so far, None where a table is learnt from. With a judge also ``judge_prompts`` so far and ``judge_seconds``,
            the time spent waiting for answers, summed over runners.
        """
        returns, lengths = zip(*self.recent, strict=True) if self.recent else ((), ())
        learner = private.local_learner(self.learner_group)
        module = learner.module[DEFAULT_MODULE_ID].unwrapped() if learner is not None else None
        alpha = getattr(module, "alpha", None)
        judge = {"judge_prompts": self.judge_prompts, "judge_seconds": self.judge_seconds}
        return {
            "env_steps": self.env_steps,
            "updates": self.updates,
            **(judge if self.config.candidates else {}),
            "alpha": None if alpha is None else float(alpha),
            "return": float(np.mean(returns)) if returns else None,
            "length": float(np.mean(lengths)) if lengths else None,
            "reward_per_step": float(np.sum(returns) / np.sum(lengths)) if returns else None,
            "reward_sum": None if self.config.preferences else self.reward_sum,
        }

    def losses(self) -> dict[str, float]:
        """Metrics of the latest update; empty before the first one and with remote learners."""
        learner = private.local_learner(self.learner_group)
        return {k: float(v) for k, v in getattr(learner, "latest_metrics", {}).items()}

    def policy_weights(self) -> dict[str, torch.Tensor]:
        """State dict of the trained :class:`.networks.ActorCritic`, the initial weights of later stages."""
        return weights.policy_weights(self.learner_group)

    # ---- RLlib's checkpoints (pickles), and the state of buffer, rollouts and counters, which its new API stack omits

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component("ialp", components, not_components):
            state["ialp"] = {
                **counters(self),
                "replay": self.replay.get_state(rows=not self.config.preferences),  # a table is read from its files
                "plays": plays(self),
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        own = state.get("ialp")
        if own:
            set_counters(self, own)
            self.replay.set_state(own["replay"])
            self._rollouts = own["plays"]

    def restore_from_path(self, path: str, *args: Any, **kwargs: Any) -> None:
        super().restore_from_path(path, *args, **kwargs)
        weights.push(self.learner_group, self.env_runner_group, self.eval_env_runner_group)
        rollouts = getattr(self, "_rollouts", [])
        if rollouts and self.env_runner_group is not None:
            restore_rollouts(self.env_runner_group, rollouts)


IALPConfig.default_algorithm = IALP

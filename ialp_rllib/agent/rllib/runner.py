"""Columnar environment runner: samples a vector environment into arrays, without Python objects per step."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from ialp_rllib.agent.policy import replay
from ialp_rllib.agent.policy.draws import SessionDraws
from ialp_rllib.agent.policy.generators import generator_states, set_generator_states
from ialp_rllib.agent.rllib import private
from ialp_rllib.agent.rllib.devices import acting_device
from ialp_rllib.agent.rllib.environments import suit_runner

log = logging.getLogger(__name__)


class ColumnBatch:
    """Sampled transitions in columns, and statistics of the episodes that ended; returned instead of episode objects.

    Deliberately no mapping: RLlib would flatten it with ``tree`` and process the columns separately.

    Attributes:
        columns: transitions, see :mod:`ialp_rllib.agent.policy.replay`, of M steps.
        returns: ``(E,)`` undiscounted returns of the episodes that ended.
        lengths: ``(E,) int64`` their numbers of steps.
        prompts: number of prompts to the judge; 0 without a judge.
        seconds: time spent waiting for the judge, in seconds.
        runner: index of the runner; 0 is the local one.
    """

    __slots__ = ("columns", "lengths", "prompts", "returns", "runner", "seconds")

    def __init__(
        self,
        columns: replay.Transitions,
        returns: np.ndarray,
        lengths: np.ndarray,
        prompts: int,
        seconds: float,
        runner: int = 0,
    ) -> None:
        self.columns, self.returns, self.lengths = columns, returns, lengths
        self.prompts, self.seconds, self.runner = prompts, seconds, runner

    def env_steps(self) -> int:
        return len(self.columns[Columns.REWARDS]) if self.columns else 0

    agent_steps = env_steps
    __len__ = env_steps


class _Step(NamedTuple):
    """One step of N environments: transitions, ``(N,) bool`` ends of episodes, and the environment's ``info``."""

    columns: replay.Transitions
    done: np.ndarray
    info: dict[str, Any]


class ColumnarEnvRunner(SingleAgentEnvRunner):
    """Samples a vector environment into columns; placement, fault tolerance and weight updates are RLlib's.

    The environment is created by ``creator(env_config | {"num_envs": N})`` and suits :func:`.environments.suit_runner`:
    it resets ended episodes in the same step, with the last observation in ``info["final_obs"]``. If a judge selects
    among candidates, ``info`` may contain

    - ``action``: ``(N,)`` selected items, to be stored instead of the candidates;
    - ``passed``: ``(N, k - 1)`` rejected candidates;
    - ``group``, ``obs``: which of ``env.groups`` groups of sessions the results belong to, and its observation before
      the step, if that is not the group that acted;
    - ``refused``: ``(N,) bool``, steps without an answer, which are not stored;
    - ``prompts``, ``seconds``: number of prompts and waiting time.
    """

    env: Any
    module: Any
    _observation: np.ndarray
    _validation: Any = None
    _draws: SessionDraws | None = None  # of the running sessions, where the policy is drawn with them

    def make_env(self) -> None:
        # gym.make_vec would wrap the environment in DictInfoToList, a Python loop over environments in every step.
        if self.env is not None:
            self.env.close()
        config = self.config
        seed = (config.seed or 0) + 1000 * (self.worker_index or 0)
        self.env = self._create_env({}, config.num_envs_per_env_runner)
        self.num_envs = self.env.num_envs
        self._env_seed = seed
        self._needs_initial_reset = True

    def make_module(self) -> None:
        device = acting_device(self.config, self.worker_index or 0)
        if device is not None:
            self._device = device
        super().make_module()

    def _create_env(self, changes: dict[str, Any], count: int) -> Any:
        config = self.config
        creator = private.registered_env(config.env) if isinstance(config.env, str) else config.env
        env = creator({**config.env_config, **changes, "num_envs": count})
        suit_runner(env, config.agent, config.candidates)
        return env

    def validation_env(self, count: int) -> Any:
        """``count`` environments of the validation world (``config.validation``), the same at every call."""
        if self._validation is None or self._validation.num_envs != count:
            self._validation = self._create_env(self.config.validation, count)
        return self._validation

    def _reset_env(self) -> None:
        seed = self._env_seed if self._needs_initial_reset else None
        self._observation, _ = self._try_env_reset(seed=seed)
        shape = (getattr(self.env, "groups", 1), self.num_envs)
        self._returns, self._lengths = np.zeros(shape), np.zeros(shape, np.int64)  # of the running episodes
        self._draws = self.module.draw_sessions(self.num_envs) if self.module.by_session else None
        self._needs_initial_reset = False

    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[ColumnBatch]:
        """Sample ``num_timesteps`` steps, or an equal share of ``num_episodes`` from every environment.

        The quota per environment avoids a bias: stopping after the first ``num_episodes`` ends favours short episodes.
        """
        if force_reset or num_episodes is not None or self._needs_initial_reset:
            self._reset_env()
        quota = math.ceil(num_episodes / self._returns.size) if num_episodes is not None else 0
        ended = np.zeros(self._returns.shape, np.int64)
        parts: list[replay.Transitions] = []
        returns: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        steps = prompts = 0
        seconds = 0.0
        while (steps < num_timesteps) if num_timesteps is not None else (ended < quota).any():
            step = self._step(explore, random_actions)
            if step is None:  # the environment failed and was reset: discard the incomplete sample
                parts, returns, lengths, steps = [], [], [], 0
                ended[:] = 0
                continue
            group, done = step.info.get("group", 0), step.done
            if done.any():
                counted = done & (ended[group] < quota) if quota else done
                returns.append(self._returns[group, counted])
                lengths.append(self._lengths[group, counted])
                ended[group] += done
                self._returns[group, done], self._lengths[group, done] = 0, 0
            parts.append(step.columns)
            steps += self.num_envs
            prompts, seconds = prompts + step.info.get("prompts", 0), seconds + step.info.get("seconds", 0.0)
        columns = {n: np.concatenate([p[n] for p in parts]) if len(parts) > 1 else c for n, c in parts[0].items()}
        all_returns = np.concatenate(returns) if returns else np.zeros(0)
        all_lengths = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
        self._increase_sampled_metrics(steps, len(all_returns))
        for length, episode_return in zip(all_lengths, all_returns, strict=True):
            self._log_episode_metrics(int(length), float(episode_return), 0.0)
        if num_episodes is not None:
            self._needs_initial_reset = True
        return [ColumnBatch(columns, all_returns, all_lengths, prompts, seconds, self.worker_index or 0)]

    def _step(self, explore: bool, random_actions: bool) -> _Step | None:
        """Step all environments once; None if the environment failed and was reset."""
        observation = self._observation
        if random_actions:
            actions = self.env.action_space.sample()
        else:
            forward = self.module.forward_exploration if explore else self.module.forward_inference
            batch = {Columns.OBS: torch.from_numpy(observation).to(self._device)}
            with nullcontext() if self._draws is None else self.module.acting_as(self._draws):
                actions = forward(batch)[Columns.ACTIONS].cpu().numpy()
        odds = {} if self._draws is None else self.module.shown(self._draws, actions, random_actions)
        result = self._env_step(actions)
        if not isinstance(result, tuple):
            self._reset_env()
            return None
        next_observation, reward, terminated, truncated, info = result
        done = terminated | truncated
        self._observation = next_observation
        if done.any():
            next_observation = info["final_obs"]
        group = info.get("group", 0)
        self._returns[group] += reward
        self._lengths[group] += 1
        columns = {
            Columns.OBS: info.get("obs", observation),
            Columns.ACTIONS: info.get("action", actions).astype(np.int64),
            Columns.REWARDS: reward,
            Columns.NEXT_OBS: next_observation,
            Columns.TERMINATEDS: terminated,
            Columns.TRUNCATEDS: truncated,
        }
        columns |= odds
        if self._draws is not None and done.any():
            self._draws.start(torch.from_numpy(done), float(self.module.alpha))
        if "passed" in info:
            columns[replay.REJECTED] = info["passed"]
        if "refused" in info and info["refused"].any():
            columns = {name: column[~info["refused"]] for name, column in columns.items()}
        return _Step(columns, done, info)

    def _env_step(self, actions: np.ndarray) -> Any:
        try:
            return self._try_env_step(actions)
        except RuntimeError as error:  # RLlib wraps exceptions of the environment in one without a message
            if error.__cause__ is not None:
                raise error.__cause__ from None
            raise

    @property
    def device(self) -> Any:
        """Where the module computes."""
        return self._device

    def restart(self) -> None:
        """Let the next sample begin new episodes in all environments."""
        self._needs_initial_reset = True

    def get_metrics(self) -> dict[str, Any]:
        return self.metrics.reduce()

    def get_rollout_state(self) -> dict[str, Any]:
        """State of the rollout: environments, running episodes and random generators; sampling resumes identically."""
        if self._needs_initial_reset:
            return {}
        return {
            "env": self.env.get_state(),
            "observation": self._observation.copy(),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "generators": generator_states(),
            "draws": None if self._draws is None else self._draws.get_state(),
        }

    def set_rollout_state(self, state: dict[str, Any]) -> None:
        """Restore the state returned by :meth:`get_rollout_state`."""
        if not state:
            return
        self.env.set_state(state["env"])
        self._observation = state["observation"].copy()
        self._returns, self._lengths = state["returns"].copy(), state["lengths"].copy()
        self._draws = SessionDraws.restored(state.get("draws"))
        set_generator_states(state["generators"])
        self._needs_initial_reset = False

    def set_state(self, state: dict[str, Any]) -> None:
        # RLlib loads weights only if their sequence number increases. After an in-place restore of an older checkpoint
        # the number is lower, and the runner would keep the newer weights: force loading in this case.
        if COMPONENT_RL_MODULE in state and state.get(WEIGHTS_SEQ_NO, 0) < private.weights_number(self):
            private.forget_weights_number(self)
        super().set_state(state)

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        state.pop("env_to_module_connector", None)  # unused on the columnar path
        state.pop("module_to_env_connector", None)
        return state


def rollout_states(group: EnvRunnerGroup) -> list[dict[str, Any]]:
    """Rollout states of the runners that sample: the remote ones, or else the local one."""
    local = group.num_remote_env_runners() == 0
    return group.foreach_env_runner(lambda runner: runner.get_rollout_state(), local_env_runner=local)


def restore_rollouts(group: EnvRunnerGroup, states: list[dict[str, Any]]) -> None:
    """Restore :func:`rollout_states`; of another number of runners than there are now, none is restored."""
    count = group.num_remote_env_runners()
    if len(states) != max(1, count):
        text = "the checkpoint has the sessions of %d environment runners, there are %d now: their users start over"
        log.warning(text, len(states), max(1, count))
        return
    calls = [lambda runner, s=state: runner.set_rollout_state(s) for state in states]
    if count == 0:
        calls[0](group.local_env_runner)
    else:
        group.foreach_env_runner(calls, local_env_runner=False)

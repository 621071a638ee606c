"""Columnar EnvRunner: N users side by side, whole columns from the environment to the replay, no object per step."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from ialp_rllib.agent.policy import replay
from ialp_rllib.agent.rllib import private
from ialp_rllib.errors import IalpError
from ialp_rllib.results.measures import spread

PLAY_STATE = "play_state"


class ColumnBatch:
    """What a runner returns in place of episodes: columns of transitions, and the episodes that ended.

    A plain class on purpose: RLlib flattens a mapping with ``tree`` and tears its columns apart.

    Attributes:
        columns: ``obs``, ``actions``, ``rewards``, ``new_obs``, ``terminateds``, ``truncateds``, and ``passed`` where
            an environment says what a judge passed over; ``(M, ...)`` each.
        returns, lengths: of the episodes that ended, ``(E,)``.
        prompts, seconds: that a judge was asked, and that it took; 0 where there is none.
        runner: index of the runner, 0: the algorithm's own.
    """

    __slots__ = ("columns", "lengths", "prompts", "returns", "runner", "seconds")

    def __init__(
        self,
        columns: replay.Columns,
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
    """One step of N users: the columns, which of the users are done, and ``info`` of the environment."""

    columns: replay.Columns
    done: np.ndarray
    info: dict[str, Any]


class ColumnarEnvRunner(SingleAgentEnvRunner):
    """Steps a vector environment and keeps columns. Everything else (placement, restarts, weights) is RLlib's.

    The environment is made by ``creator(env_config | {"num_envs": N})`` and must reset an ended episode in the same
    step (``info["final_obs"]``). Where a judge picks among proposals, ``info`` says what to record: ``action`` (what it
    picked), ``group`` and ``obs`` (which of ``env.groups`` groups of users this is about, and what they saw, where it
    is not the group that acted), ``refused`` (users whose step is none), ``prompts`` and ``seconds`` (what it cost).
    """

    env: Any
    module: Any
    _observation: np.ndarray

    def make_env(self) -> None:
        # gym.make_vec would wrap the environment in DictInfoToList, a Python loop over users at every step.
        if self.env is not None:
            self.env.close()
        config = self.config
        creator = private.registered_env(config.env) if isinstance(config.env, str) else config.env
        seed = (config.seed or 0) + 1000 * (self.worker_index or 0)
        self.env = creator({**config.env_config, "num_envs": config.num_envs_per_env_runner})
        self.num_envs = self.env.num_envs
        self._env_seed = seed
        self._needs_initial_reset = True

    def _restart(self) -> None:
        seed = self._env_seed if self._needs_initial_reset else None
        self._observation, _ = self._try_env_reset(seed=seed)
        places = (getattr(self.env, "groups", 1), self.num_envs)
        self._returns, self._lengths = np.zeros(places), np.zeros(places, np.int64)
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
        """Step until there are ``num_timesteps``, or until every place has ended its share of ``num_episodes``.

        The quota per place matters: to stop at the first ``num_episodes`` ends favours short episodes.
        """
        if force_reset or num_episodes is not None or self._needs_initial_reset:
            self._restart()
        quota = math.ceil(num_episodes / self._returns.size) if num_episodes is not None else 0
        ended = np.zeros(self._returns.shape, np.int64)
        parts: list[replay.Columns] = []
        returns: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        steps = prompts = 0
        seconds = 0.0
        while (steps < num_timesteps) if num_timesteps is not None else (ended < quota).any():
            step = self._step(explore, random_actions)
            if step is None:  # the environment failed and was restarted: what is incomplete is dropped
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
        """One step of all users; None where the environment had to be restarted."""
        observation = self._observation
        if random_actions:
            actions = self.env.action_space.sample()
        else:
            forward = self.module.forward_exploration if explore else self.module.forward_inference
            batch = {Columns.OBS: torch.from_numpy(observation).to(self._device)}
            actions = forward(batch)[Columns.ACTIONS].cpu().numpy()
        result = self._env_step(actions)
        if not isinstance(result, tuple):
            self._restart()
            return None
        after, reward, terminated, truncated, info = result
        done = terminated | truncated
        self._observation = after
        if done.any():
            after = info["final_obs"]
        group = info.get("group", 0)
        self._returns[group] += reward
        self._lengths[group] += 1
        chosen = info.get("action", actions).astype(np.int64)
        columns = {
            Columns.OBS: info.get("obs", observation),
            Columns.ACTIONS: chosen,
            Columns.REWARDS: reward,
            Columns.NEXT_OBS: after,
            Columns.TERMINATEDS: terminated,
            Columns.TRUNCATEDS: truncated,
        }
        if "passed" in info:
            columns[replay.PASSED] = info["passed"]
        if "refused" in info and info["refused"].any():
            columns = {name: column[~info["refused"]] for name, column in columns.items()}
        return _Step(columns, done, info)

    def _env_step(self, actions: np.ndarray) -> Any:
        try:
            return self._try_env_step(actions)
        except RuntimeError as error:  # RLlib wraps whatever the environment raises
            if isinstance(error.__cause__, IalpError):
                raise error.__cause__ from None
            raise

    def measure(self, how: str, seed: int) -> dict[str, float]:
        """Play exactly one episode per place with a fixed seed: how good it is, and what was recommended.

        Args:
            how: ``greedy`` or ``sampled``.
            seed: of starts and sampling. Starts go round the world's users, so each has the same number of episodes.

        Returns:
            The mean ``return`` and ``length``, ``reward_per_step``, ``episodes``, and ``coverage`` and
            ``effective_items`` of what was recommended in them (:func:`.measuring.spread`).
        """
        env = self.env
        start = np.arange(self.num_envs) % len(env.sim.world.users)
        observation, _ = env.reset(seed=seed, options={"start": start})
        there = np.ones(self.num_envs, bool)
        returns, lengths = np.zeros(self.num_envs), np.zeros(self.num_envs)
        items: list[np.ndarray] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            while there.any():
                batch = torch.from_numpy(observation).to(self._device)
                actions = self.module.act(batch, "greedy" if how == "greedy" else "categorical").cpu().numpy()
                observation, reward, terminated, truncated, info = env.step(actions)
                items.append(info.get("action", actions)[there])  # a judge may have picked among proposals
                returns += reward * there
                lengths += there
                there &= ~(terminated | truncated)
        self._needs_initial_reset = True
        results = {
            "return": float(returns.mean()),
            "length": float(lengths.mean()),
            "reward_per_step": float(returns.sum() / lengths.sum()),
            "episodes": self.num_envs,
            **spread(np.concatenate(items), env.sim.world.n_items),
        }
        self.metrics.log_dict(results, key=how, window=1)
        return results

    def get_metrics(self) -> dict[str, Any]:
        return self.metrics.reduce()

    def get_play_state(self) -> dict[str, Any]:
        """Where play stands: users, running episodes, random generators. Restored, the next steps are the same ones."""
        if self._needs_initial_reset:
            return {}
        return {
            "env": self.env.get_state(),
            "observation": self._observation.copy(),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "torch": torch.get_rng_state(),
        }

    def set_play_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`get_play_state` gave."""
        if not state:
            return
        self.env.set_state(state["env"])
        self._observation = state["observation"].copy()
        self._returns, self._lengths = state["returns"].copy(), state["lengths"].copy()
        torch.set_rng_state(state["torch"])
        self._needs_initial_reset = False

    def set_state(self, state: dict[str, Any]) -> None:
        # RLlib loads weights only if their sequence number rises. After an in-place restore of an older checkpoint it
        # falls, and the runner would keep the newer weights: a lower number means force.
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

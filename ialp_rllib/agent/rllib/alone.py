"""The learner of the algorithm by itself: the same losses, optimisers and schedules, without environments.

What learns in a service is what learns in a run: :class:`.learner.IALPLearner` of the configuration of
:class:`.config.IALPConfig`, fed from the same replay buffer in the same way as
:meth:`.algorithm.IALP.training_step` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core import COMPONENT_OPTIMIZER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, WEIGHTS_SEQ_NO
from torch import Tensor

from ialp_rllib.agent.policy.alpha import alpha
from ialp_rllib.agent.policy.draws import NEXT_ODDS, ODDS
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.replay import ColumnarReplay, Transitions
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.agent.rllib.mixture import MixtureModule
from ialp_rllib.agent.rllib.state import learner_state, set_learner_state
from ialp_rllib.settings import AgentSettings, AlphaSettings

_FEATURES = ("item_tokens", "text_vectors", "user_codes", "user_sizes")


def mixture_config(
    agent: AgentSettings,
    schedule: AlphaSettings,
    network: NetworkConfig,
    theta: str,
    beta: str,
    seed: int = 0,
    popularity: np.ndarray | None = None,
) -> IALPConfig:
    """The configuration of A-iALP_ap.

    Args:
        theta, beta: files of the frozen policy's weights, and of those that the learning policy begins with.
        popularity: ``(I,)``, of a policy that acts on candidates.
    """
    features = {name: getattr(network, name) for name in _FEATURES if getattr(network, name) is not None}
    features |= {} if popularity is None else {"popularity": popularity}
    config = IALPConfig().ialp(
        agent=agent,
        module_class=MixtureModule,
        theta_weights=theta,
        start_weights=beta,
        options={"alpha": schedule},
        features={name: value for name, value in features.items() if not isinstance(value, list) or value},
    )
    config.debugging(seed=seed, log_level="ERROR")
    return config


def spaces(network: NetworkConfig) -> tuple[gym.spaces.Box, gym.spaces.Discrete]:
    """Spaces of observations and items."""
    last = (network.feedback + 1) * (network.n_items + 1) - 1
    users = max(len(network.user_codes) - 1, 1) if network.user_codes is not None else 1
    high = np.concatenate([[users], np.full(network.history, last)]).astype(np.int32)
    return gym.spaces.Box(np.zeros_like(high), high, dtype=np.int32), gym.spaces.Discrete(network.n_items)


class LearnerAlone:
    """A learner with its replay buffer; transitions come in the order in which they are given.

    As in a run, updates are due after every ``agent.envs`` transitions, the step of all parallel users.

    Args:
        config: of :func:`mixture_config`.
        network: sizes of observations.
        seed: of replay and initial weights.

    Attributes:
        env_steps, updates: so far.
    """

    def __init__(self, config: IALPConfig, network: NetworkConfig, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.agent: AgentSettings = config.agent
        self._core = config.build_learner(spaces={DEFAULT_MODULE_ID: spaces(network)})
        self._module = self._core.module[DEFAULT_MODULE_ID].unwrapped()
        self.replay = ColumnarReplay.from_settings(self.agent, seed)
        self.env_steps = self.updates = 0
        self._waiting: Transitions = {}  # fewer than one step of all users

    @property
    def alpha(self) -> float:
        """What the schedule says now."""
        return float(self._module.alpha)

    @property
    def clock(self) -> float:
        """Time of the schedule, in steps."""
        return float(self._module.clock)

    @property
    def losses(self) -> dict[str, float]:
        """Metrics of the latest update; empty before the first one."""
        return {name: float(value) for name, value in self._core.latest_metrics.items()}

    def learn(self, columns: Transitions) -> int:
        """Take in transitions, and make the updates that are due; returns their number."""
        before, step = self.updates, self.agent.envs
        if columns:
            held = self._waiting
            columns = {name: np.concatenate([held[name], new]) if held else new for name, new in columns.items()}
            count = len(columns["actions"])
            whole = count - count % step
            for start in range(0, whole, step):
                self._step({name: values[start : start + step] for name, values in columns.items()})
            self._waiting = {name: values[whole:].copy() for name, values in columns.items()} if whole < count else {}
        return self.updates - before

    def _step(self, columns: Transitions) -> None:
        self.replay.add(columns)
        self.env_steps += len(columns["actions"])
        count = self.replay.updates_due(self.agent)
        if not count:
            return
        size = self.agent.batch
        rows = self.replay.sample(count * size)
        self._core.update(
            batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(rows)}, env_steps=count * size),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.env_steps},
            minibatch_size=size if count > 1 else None,
        )
        self.updates += count

    def _with_odds(self, columns: Transitions) -> Transitions:
        """Columns of a checkpoint with log-odds where one policy is drawn per session, and without them elsewhere.

        How the two are mixed may be another setting than when the checkpoint was written.
        """
        kept = {name: values for name, values in columns.items() if name not in (ODDS, NEXT_ODDS)}
        if kept and self._module.by_session:
            nothing = np.zeros(len(kept["actions"]), np.float32)
            kept |= {name: columns.get(name, nothing) for name in (ODDS, NEXT_ODDS)}
        return kept

    def weights(self) -> dict[str, Tensor]:
        """Copies of the learning policy's tensors, ``policy.*`` and ``critic.*``."""
        state = self._module.state_dict()
        return {k: v.detach().cpu().clone() for k, v in state.items() if k.startswith(("policy.", "critic."))}

    def set_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from other weights of the learning policy: its target network takes them over, too."""
        with torch.no_grad():
            for name, tensor in self._module.state_dict(keep_vars=True).items():
                source = name.removeprefix("target.")
                if source in weights and source.startswith(("policy.", "critic.")):
                    tensor.copy_(weights[source])

    def take_over(self, other: LearnerAlone, clock: float | None = None) -> None:
        """Go on in the place of a learner whose weights are of no use, with its replay and counts.

        Args:
            clock: time of alpha's schedule; None: the other's, or 0 where that is not finite.
        """
        self.replay, self._waiting = other.replay, other._waiting
        self.env_steps, self.updates = other.env_steps, other.updates
        clock = other.clock if clock is None else clock
        self._module.clock.fill_(clock if math.isfinite(clock) else 0.0)
        self._module.env_steps.copy_(other._module.env_steps)
        self._module.alpha.fill_(alpha(self._module.schedule, float(self._module.clock)))

    def get_state(self) -> dict[str, Any]:
        """The parts ``learner`` and ``replay`` of a checkpoint, see :mod:`.state`."""
        state = self._core.get_state(not_components="metrics_logger")
        kept = {name: state[name] for name in (COMPONENT_RL_MODULE, COMPONENT_OPTIMIZER, WEIGHTS_SEQ_NO)}
        counts = {"env_steps": self.env_steps, "updates": self.updates}
        return {
            "learner": {**kept, **learner_state(self._core), **counts},
            "replay": {**self.replay.get_state(), "waiting": self._waiting},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`get_state` returned."""
        learner, replay = state["learner"], state["replay"]
        for names in ((COMPONENT_RL_MODULE, COMPONENT_OPTIMIZER), (WEIGHTS_SEQ_NO,)):
            self._core.set_state({name: learner[name] for name in names})
        self.env_steps, self.updates = learner["env_steps"], learner["updates"]
        self.replay.set_state(replay | {"columns": self._with_odds(replay.get("columns", {}))})
        self._waiting = self._with_odds(replay["waiting"])
        set_learner_state(self._core, learner)

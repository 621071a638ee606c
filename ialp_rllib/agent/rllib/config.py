"""Configuration of the RLlib algorithm."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.from_config import NotProvided

from ialp_rllib.agent.policy.replay import ColumnarReplay
from ialp_rllib.agent.rllib.learner import IALPLearner
from ialp_rllib.agent.rllib.modules import ActorCriticModule
from ialp_rllib.agent.rllib.names import AGENT_FIELDS, KEYS_OF_RLLIB, SHARED, UNUSED, checked, nearest, plain, searched
from ialp_rllib.agent.rllib.objectives import Objective, actor_critic
from ialp_rllib.agent.rllib.runner import ColumnarEnvRunner
from ialp_rllib.agent.rllib.temperature import evaluate
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AgentSettings

# Settings of the agent that are passed to the module in ``model_config``, under the same names.
MODEL_SETTINGS = (
    *("history", "feedback", "dim", "blocks", "heads", "mask_recent", "shared_encoder", "dueling"),
    *("advantage", "bootstrap", "block_items", "exploration", "epsilon", "anchor", "calibration"),
)


class IALPConfig(AlgorithmConfig):
    """Configuration of :class:`ialp_rllib.agent.rllib.algorithm.IALP`.

    RLlib's ``gamma``, ``lr``, ``grad_clip``, ``train_batch_size_per_learner`` and ``num_envs_per_env_runner`` are the
    agent's ``gamma``, ``critic_lr``, ``gradient_clip``, ``batch`` and ``envs``: setting one sets the other. ``lr`` is
    the learning rate of the critic and the encoder; ``actor_lr`` changes by the same factor. Every other setting of the
    agent may be given to :meth:`training` and in the ``param_space`` of a Tuner by its own name, too: ``entropy``.

    Attributes:
        agent: settings of networks, losses, exploration and replay.
        module_class: RLModule with the networks and the action selection.
        objective: loss function, see :mod:`.objectives`.
        buffer_class: a :class:`ialp_rllib.agent.policy.replay.TransitionBuffer`.
        options: settings that only this method reads, by their names in ``model_config``.
        start_weights: file of the initial actor-critic weights (A-iALP_ft; A-iALP_ap with beta = theta), or empty.
        theta_weights: file of the frozen pre-trained policy of a mixture, or empty.
        rollout_steps: environment steps before the first update, in which the policy of the start acts.
        offline_share: share of each batch from the start's transitions, see :mod:`..policy.balanced`; 0: one buffer.
        offline: file of these transitions; empty: those of the ``rollout_steps``.
        learns: whether to make updates.
        preferences: folder of a preference table to learn from offline, without an environment, or empty.
        rewards: rewards of that table, ``label`` or ``probability``.
        rejected: fraction of each batch whose action is replaced by a rejected candidate, with reward 0, see
            :func:`ialp_rllib.agent.policy.replay.replace_by_rejected`.
        rounds: steps of all environments (or updates, with a preference table) per ``training_step``.
        candidates: number of candidates that the policy proposes to a judge in each step; 0: the policy acts itself.
        proposals: strategy of the proposals during training: ``sampled``, ``top`` or ``mix``.
        features: further entries of ``model_config``, see :func:`ialp_rllib.agent.policy.features.features`.
        evaluation_seed: seed of every evaluation.
        validation: what ``env_config`` of the validation world has beside that of evaluations; empty: there is none.
        temperatures: among which the validation world chooses one for the sampled policy, see :mod:`.temperature`.
        cold: items of which evaluations report the share among the recommendations (``catalogue.cold_items``).
        given: names of :data:`SHARED` that :meth:`training` was called with.
    """

    default_algorithm: ClassVar[type[Algorithm] | None] = None  # IALP, which this file cannot import: it needs it

    def __init__(self, algo_class: type | None = None) -> None:
        # Attributes must be set before super().__init__, which forbids new ones.
        self.agent = AgentSettings()
        self.module_class: type[TorchRLModule] = ActorCriticModule
        self.objective: Objective = actor_critic
        self.buffer_class: type[Any] = ColumnarReplay
        self.options: dict[str, Any] = {}
        self.start_weights = self.theta_weights = self.preferences = self.offline = ""
        self.rollout_steps, self.offline_share = 0, 0.0
        self.learns = True
        self.rewards = "label"
        self.rejected = 0.0
        self.rounds = 1
        self.candidates = 0
        self.proposals = "sampled"
        self.features: dict[str, Any] = {}  # a dict, because RLlib compares attributes with ==, which fails for arrays
        self.evaluation_seed = 12345
        self.validation: dict[str, Any] = {}
        self.temperatures: tuple[float, ...] = (1.0,)
        self.cold: tuple[int, ...] = ()
        self.given: list[str] = []
        own = tuple(vars(self))
        super().__init__(algo_class=algo_class or self.default_algorithm)
        self.env_runner_cls = ColumnarEnvRunner
        self.num_env_runners = 0
        self.rollout_fragment_length = 1
        self.custom_evaluation_function = evaluate
        self.grad_clip_by = "global_norm"
        self.own = (*own, "own")
        self._mirror()

    def ialp(self, **options: Any) -> IALPConfig:
        """Set attributes of this class, and the RLlib attributes that follow from ``agent``.

        Raises:
            ValueError: unknown attribute, or ``agent`` differs from what :meth:`training` was called with.
        """
        for name, value in options.items():
            if name not in self.own:
                raise ValueError(f"IALPConfig has no option {name!r}{nearest(name, self.own)}")
            if name == "agent":
                for rllib in self.given:
                    self._refuse_two_values(rllib, value)
            setattr(self, name, value)
        self._mirror()
        return self

    def training(self, **options: Any) -> IALPConfig:
        """RLlib's arguments that have a meaning here (see the class), and settings of the agent by their names.

        Raises:
            ValueError: an argument that this algorithm would not read, a schedule, or two values for one setting.
            InputError: a value is out of the setting's range.
        """
        for name, instead in UNUSED.items():
            value = options.pop(name, NotProvided)
            if value is not NotProvided and value != getattr(self, name, NotProvided):
                raise ValueError(f"IALP does not read training({name}={value!r}): use {instead}")
        settings = {name: options.pop(name) for name in AGENT_FIELDS if name in options and name not in SHARED}
        unknown = [name for name in options if not hasattr(self, name)]
        if unknown:
            raise ValueError(
                f"training() has no argument {unknown[0]!r}{nearest(unknown[0], (*SHARED, *AGENT_FIELDS))}"
            )
        super().training(**options)
        self.given = sorted({*self.given, *(set(options) & set(SHARED))})
        for name, value in settings.items():
            if searched(value):
                raise ValueError(
                    f"{name}: a search space of a setting of the agent belongs into param_space: "
                    f"Tuner(IALP, param_space={{**config.to_dict(), {name!r}: ...}})"
                )
        self._follow()
        self._set_agent(settings, set(options))
        return self

    def env_runners(self, **options: Any) -> IALPConfig:
        """RLlib's arguments; ``num_envs_per_env_runner`` is the agent's ``envs``."""
        super().env_runners(**options)
        self.given = sorted({*self.given, *(set(options) & {"num_envs_per_env_runner"})})
        self._follow()
        return self

    def evaluation(self, **options: Any) -> IALPConfig:
        """RLlib's arguments; the duration is a number of episodes, which are played side by side.

        Raises:
            ValueError: the duration is in timesteps, or "auto".
        """
        duration = options.get("evaluation_duration", NotProvided)
        unit = options.get("evaluation_duration_unit", "episodes")
        if unit not in ("episodes", NotProvided) or duration == "auto":
            raise ValueError(f"evaluation_duration is {duration!r} {unit}: use a number of episodes")
        if duration not in (NotProvided, self.evaluation_duration):
            given = options.get("evaluation_config") or self.evaluation_config or {}
            options["evaluation_config"] = {**given, "num_envs_per_env_runner": duration}
        super().evaluation(**options)
        return self

    def update_from_dict(self, config_dict: dict[str, Any]) -> IALPConfig:
        """RLlib's method, with which Tune makes a trial's configuration; knows the attributes of this class, too.

        Raises:
            ValueError: unknown key, or two values for one setting.
            InputError: a value is out of the setting's range.
        """
        rllib, settings = {}, {}
        for key, value in config_dict.items():
            if key == "agent" and isinstance(value, dict):
                self._set_agent(value, set())
            elif key in self.own:
                setattr(self, key, value)
            elif key in AGENT_FIELDS and key not in SHARED:
                settings[key] = value
            elif hasattr(self, self._translate_special_keys(key, warn_deprecated=False)) or key in KEYS_OF_RLLIB:
                rllib[key] = value
            elif key.startswith("__"):  # Tune adds its own, such as __trial_info__
                continue
            else:
                raise ValueError(f"IALPConfig has no key {key!r}{nearest(key, (*vars(self), *AGENT_FIELDS))}")
        super().update_from_dict(rllib)
        changed = {name for name in SHARED if name in config_dict and self._shared(name) != self._agent_value(name)}
        self._follow()
        self._set_agent(settings, changed)
        return self

    def validate(self) -> None:
        self._follow()
        agent = self.agent
        if agent.dim % agent.heads:
            raise InputError("agent.heads", f"is {agent.heads}", f"a divisor of agent.dim = {agent.dim}")
        if agent.candidates.count and self.learns and not getattr(self.module_class, "on_candidates", False):
            problem = f"is {agent.candidates.count}, and {self.module_class.__name__} learns from all items"
            raise InputError("agent.candidates.count", problem, "0, or a module that learns on candidates")
        super().validate()

    # ---- settings that RLlib has under another name

    def _shared(self, name: str) -> Any:
        """Value of one of :data:`SHARED` in RLlib's attribute, in the agent's terms."""
        value = plain(getattr(self, name))
        if name == "grad_clip" and not searched(value):
            if value == 0:
                raise ValueError("grad_clip is 0, with which nothing would be learnt: use None for no clipping")
            return float(value or 0)
        return value

    def _agent_value(self, name: str, agent: AgentSettings | None = None) -> Any:
        return getattr(agent or self.agent, SHARED[name])

    def _mirror(self) -> None:
        """Set RLlib's attributes to the agent's values, where no search space stands."""
        for name in SHARED:
            if not searched(getattr(self, name)):
                value = self._agent_value(name)
                setattr(self, name, (value or None) if name == "grad_clip" else value)

    def _follow(self) -> None:
        """Set the agent's values to RLlib's attributes, where they are values and differ."""
        values = {name: self._shared(name) for name in SHARED if not searched(getattr(self, name))}
        changes = {SHARED[name]: value for name, value in values.items() if value != self._agent_value(name)}
        for name in changes:
            if isinstance(changes[name], list | tuple | dict):
                raise ValueError(f"{name} is a schedule, {changes[name]!r}: use a single number")
        if "critic_lr" in changes:
            factor = checked({"critic_lr": changes["critic_lr"]})["critic_lr"] / self.agent.critic_lr
            changes["actor_lr"] = self.agent.actor_lr * factor
        self.agent = dataclasses.replace(self.agent, **checked(changes))

    def _set_agent(self, settings: dict[str, Any], changed: set[str]) -> None:
        """Set settings of the agent by their names; ``changed``: names of RLlib that were given with them."""
        agent = dataclasses.replace(self.agent, **checked(settings))
        for name in changed & set(SHARED):
            if SHARED[name] in settings:
                self._refuse_two_values(name, agent)
        self.agent = agent
        self._mirror()

    def _refuse_two_values(self, name: str, agent: AgentSettings) -> None:
        value, other = self._shared(name), self._agent_value(name, agent)
        if value != other:
            raise ValueError(f"{name} is {value!r} and agent.{SHARED[name]} is {other!r}: give one of them")

    def with_evaluation(self, env_config: dict[str, Any], episodes: int) -> IALPConfig:
        """Make ``evaluate()`` run ``episodes`` episodes of the environment with ``env_config``."""
        self.evaluation(
            evaluation_interval=10**9,  # never reached: the trainer calls evaluate()
            evaluation_num_env_runners=0,
            evaluation_duration=episodes,
            evaluation_config=AlgorithmConfig.overrides(env_config=env_config, num_envs_per_env_runner=episodes),
        )
        return self

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=self.module_class)

    def get_default_learner_class(self) -> type[IALPLearner]:
        return IALPLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        names = ("candidates", "proposals", "start_weights", "theta_weights")
        return {
            **super()._model_config_auto_includes,
            **{name: getattr(self.agent, name) for name in MODEL_SETTINGS},
            "target": self.agent.target_rate > 0,
            "retrieval": self.agent if self.agent.candidates.count else None,
            **self.features,
            **{name: getattr(self, name) for name in names},
            **self.options,
        }

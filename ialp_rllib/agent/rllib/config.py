"""Configuration of the RLlib algorithm."""

from __future__ import annotations

from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule

from ialp_rllib.agent.policy.replay import ColumnarReplay
from ialp_rllib.agent.rllib.learner import IALPLearner
from ialp_rllib.agent.rllib.measuring import measure_both
from ialp_rllib.agent.rllib.modules import ActorCriticModule
from ialp_rllib.agent.rllib.objectives import Objective, actor_critic
from ialp_rllib.agent.rllib.runner import ColumnarEnvRunner
from ialp_rllib.settings import AgentSettings

# Settings of the agent that are passed to the module in ``model_config``, under the same names.
MODEL_SETTINGS = (
    *("history", "feedback", "dim", "blocks", "heads", "mask_recent", "shared_encoder", "dueling"),
    *("advantage", "bootstrap", "block_items", "exploration", "epsilon"),
)


class IALPConfig(AlgorithmConfig):
    """Configuration of :class:`ialp_rllib.agent.rllib.algorithm.IALP`.

    Attributes:
        agent: settings of networks, losses, exploration and replay.
        module_class: RLModule with the networks and the action selection.
        objective: loss function, see :mod:`.objectives`.
        buffer_class: a :class:`ialp_rllib.agent.policy.replay.TransitionBuffer`.
        options: settings that only this method reads, by their names in ``model_config``.
        start_weights: file of the initial actor-critic weights (A-iALP_ft; A-iALP_ap with beta = theta), or empty.
        theta_weights: file of the frozen pre-trained policy of a mixture, or empty.
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
    """

    default_algorithm: ClassVar[type[Algorithm] | None] = (
        None  # IALP, which cannot be imported here: it needs this class
    )

    def __init__(self, algo_class: type | None = None) -> None:
        # Attributes must be set before super().__init__, which forbids new ones.
        self.agent = AgentSettings()
        self.module_class: type[TorchRLModule] = ActorCriticModule
        self.objective: Objective = actor_critic
        self.buffer_class: type[Any] = ColumnarReplay
        self.options: dict[str, Any] = {}
        self.start_weights = self.theta_weights = self.preferences = ""
        self.learns = True
        self.rewards = "label"
        self.rejected = 0.0
        self.rounds = 1
        self.candidates = 0
        self.proposals = "sampled"
        self.features: dict[str, Any] = {}  # a dict, because RLlib compares attributes with ==, which fails for arrays
        self.evaluation_seed = 12345
        super().__init__(algo_class=algo_class or self.default_algorithm)
        self.env_runner_cls = ColumnarEnvRunner
        self.num_env_runners = 0
        self.rollout_fragment_length = 1
        self.custom_evaluation_function = measure_both

    def ialp(self, **options: Any) -> IALPConfig:
        """Set attributes of this class, and the RLlib attributes that follow from ``agent``.

        Raises:
            ValueError: unknown attribute.
        """
        for name, value in options.items():
            if name not in self.__dict__:
                raise ValueError(f"IALPConfig has no option {name!r}")
            setattr(self, name, value)
        agent = self.agent
        self.gamma, self.lr = agent.gamma, agent.critic_lr
        self.grad_clip = agent.gradient_clip or None
        self.grad_clip_by = "global_norm"
        self.train_batch_size_per_learner = agent.batch
        self.num_envs_per_env_runner = agent.envs
        return self

    def with_evaluation(self, env_config: dict[str, Any], episodes: int) -> IALPConfig:
        """Make ``evaluate()`` run ``episodes`` episodes of the environment with ``env_config``."""
        self.evaluation(
            evaluation_interval=10**9,  # never reached: the trainer calls evaluate()
            evaluation_num_env_runners=0,
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
            **self.features,
            **{name: getattr(self, name) for name in names},
            **self.options,
        }

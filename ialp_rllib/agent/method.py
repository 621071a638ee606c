"""What a method of the comparison is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import Settings


@dataclass(frozen=True)
class Method:
    """One method of the comparison.

    ``module``, ``objective``, ``buffer`` and ``features`` are objects or import strings ``package.module:name``; import
    strings let the registry be listed without importing torch and RLlib.

    Attributes:
        title: name of the method as papers write it.
        source: publication or definition of the method.
        about: one-sentence description for reports; may be empty.
        start: the stage that made the policy pi_theta that it starts from, of the same seed: ``pretrain`` (iALP, from
            the judge), ``warm`` (from the log), ``joint`` (from both), or empty: none. ``recommend``: no pi_theta, but
            the recommender of `ialp lea`, whose folder the module receives as ``model_config["recommender"]``.
        mixture: whether it acts with the mixture of a frozen pi_theta and a learning pi_beta (Eq. 14).
        learns: whether it learns online.
        judge_selects: whether the judge selects the item that is shown from k candidates of the policy, online and
            during evaluation.
        judge_plays: whether the judge itself recommends, see :mod:`ialp_rllib.agent.envs.judge_played`.
        module: RLModule class with the networks and the action selection, a subclass of
            :class:`ialp_rllib.agent.rllib.modules.ActorCriticModule`.
        objective: loss function, see :mod:`ialp_rllib.agent.rllib.objectives`.
        buffer: class of the buffer that training samples from, see
            :class:`ialp_rllib.agent.policy.replay.TransitionBuffer`.
        replays: whether updates draw from past transitions, so that their number can be chosen (``adapt.budgets``);
            false where each transition is used once.
        settings: dotted names of settings that only this method reads. Its module receives them in ``model_config``
            under the last part of the name; changing one invalidates only the runs of this method.
        features: function of the settings, the catalogue (with the part of the log that agents may see) and the run's
            folder (for the fitted user models) that returns further entries of ``model_config``.
        data: what it has read before its first online step: ``none``, the ``log``, answers of the ``judge`` (which may
            have been tuned on the log), or ``both``. Ratios are against references that have read the same.
        reference: whether it stands in tables for others to be compared with.
        worlds: the worlds (``users.world``) that it can be run in.
        on_candidates: whether it can be run with ``agent.candidates.count`` above 0: it acts and learns on candidates,
            or has no networks.
    """

    title: str
    source: str
    about: str = ""
    start: str = ""
    mixture: bool = False
    learns: bool = True
    judge_selects: bool = False
    judge_plays: bool = False
    module: Any = "ialp_rllib.agent.rllib.modules:ActorCriticModule"
    objective: Any = "ialp_rllib.agent.rllib.objectives:actor_critic"
    buffer: Any = "ialp_rllib.agent.policy.replay:ColumnarReplay"
    replays: bool = True
    settings: tuple[str, ...] = ()
    features: Callable[[Settings, Catalogue, Path], dict[str, Any]] | str = ""
    data: str = "none"
    reference: bool = False
    worlds: tuple[str, ...] = ("sequence", "rating")
    on_candidates: bool = False

    @property
    def theta(self) -> str:
        """The stage of the policy that its networks start from, or empty."""
        return "" if self.start == "recommend" else self.start

    @property
    def pretrained(self) -> bool:
        """Whether it starts from the policy that was pre-trained on the judge's answers."""
        return self.start == "pretrain"

    @property
    def distilled(self) -> bool:
        """Whether it starts from a policy that learnt from the table of the judge's preferences."""
        return self.start in ("pretrain", "joint")

    @property
    def judge_online(self) -> bool:
        """Whether a judge is asked while users are simulated."""
        return self.judge_selects or self.judge_plays

    @property
    def learns_from_judge(self) -> bool:
        """Whether it needs a judge: to pre-train, to select items, or to have been asked beforehand."""
        return self.distilled or self.judge_selects or self.data in ("judge", "both")

"""RLModule that learns a critic alone: what a policy, which stays as it is, will earn."""

from __future__ import annotations

from ialp_rllib.agent.rllib.modules import ActorCriticModule


class CriticModule(ActorCriticModule):
    """An actor-critic whose policy, encoder and actor, is held: policy evaluation.

    With ``bootstrap`` policy, Q becomes the value of acting by this policy. It acts as its base class does.
    """

    def setup(self) -> None:
        super().setup()
        self.policy.requires_grad_(False)

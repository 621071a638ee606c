"""Settings of pre-training on the judge's preferences.

Equations, algorithms and sections are those of Wang et al. 2025, "Large Language Model driven Policy Exploration for
Recommender Systems" (the paper).
"""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting
from ialp_rllib.settings.imitation import ImitationSettings


@dataclass(frozen=True)
class ListwiseSettings(ImitationSettings):
    """Listwise pre-training: the actor's softmax over the candidates of a prompt against the judge's probabilities.

    Rows are answered prompts; those of some sessions of the table are held out. With one temperature to choose from,
    pre-training reads no simulated users.
    """

    held_out: float = setting(
        0.1,
        "Share of the table's sessions that are held out, to stop training by (at least one session).",
        low=0.001,
        high=0.9,
        advanced=True,
    )


@dataclass(frozen=True)
class PreferenceModelSettings:
    """A small model of the judge's preferences, for listwise pre-training from few answers.

    It is fitted to the preference table and compares the texts of items (their words, whole values, and the vectors of
    `agent.item_vectors` if these are asked for), so that it also has a score for items and sessions that the judge was
    never asked about. The actor learns its softmax over all items, in sessions that the model plays itself.
    """

    rows: int = setting(
        -1,
        "States in which the actor learns what the model prefers among all items, beside the prompts of the table; 0: "
        "the table alone. -1: five for each answered prompt, up to 20,000, where there are fewer prompts than items, "
        "else none; also none in rating worlds, with `agent.candidates`, and where items have no text. A model that "
        "foretells held-out answers no better than chance is not used.",
        low=-1,
        high=10**8,
    )
    weight: float = setting(
        1.0, "What one of these states counts, where a prompt of the judge counts 1.", low=0.001, high=1000.0
    )
    temperature: float = setting(
        1.0, "Temperature of the model's softmax that the actor learns.", low=0.01, high=100.0, advanced=True
    )


@dataclass(frozen=True)
class PretrainSettings:
    """iALP: pre-training on the judge's preferences (Algorithm 1)."""

    mode: str = setting(
        "table",
        "table: learn offline from the preference table. live: the judge answers while the policy learns.",
        choices=("table", "live"),
    )
    source: str = setting(
        "judge",
        "What the actor learns from in listwise pre-training. judge: the preference table. lea: the recommender that "
        "`ialp lea` trains in its row leasr with the same seed, in the states of the log; the critic still learns from "
        "the table.",
        choices=("judge", "lea"),
        advanced=True,
    )
    loss: str = setting(
        "listwise",
        "How the actor learns from the judge (mode live: actor_critic only). listwise: from the probabilities that the "
        "judge gives to all candidates of a prompt; then the critic learns what this policy earns. actor_critic: by "
        "the rewards of the choices, as in the paper (Eqs. 8 to 10).",
        choices=("listwise", "actor_critic"),
    )
    updates: int = setting(2000, "Number of updates of actor and critic (loss actor_critic).", low=1)
    critic_updates: int = setting(
        1000,
        "Number of updates of the critic, with the policy as it is, after listwise pre-training; 0: the critic keeps "
        "its random weights.",
        low=0,
        advanced=True,
    )
    proposals: str = setting(
        "sampled",
        "How the policy proposes candidates (mode live, and method llm_online). sampled: drawn from the policy without "
        "replacement. top: the most probable items. mix: half of each.",
        choices=("sampled", "top", "mix"),
        advanced=True,
    )
    rewards: str = setting(
        "label",
        "label: 1 for the chosen candidate, 0 for None (Eq. 3). probability: the probability of the chosen candidate's "
        "label.",
        choices=("label", "probability"),
        advanced=True,
    )
    rejected: float = setting(
        0.8,
        "Fraction of the transitions in each batch in which the action is replaced by a rejected candidate, with "
        "reward 0. 0: none, as in the paper.",
        low=0.0,
        high=0.95,
        advanced=True,
    )
    entropy: float = setting(
        0.05,
        "Coefficient of the entropy bonus during pre-training; constant (loss actor_critic).",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    groups: int = setting(
        2,
        "Groups of `agent.envs` sessions (mode live): while the policy learns from one group, the judge answers for "
        "the others. `judge.replicas` + 1 groups keep all replicas busy.",
        low=1,
        high=1000,
        advanced=True,
    )
    checkpoint_every: int = setting(500, "Updates between checkpoints.", low=1, advanced=True)
    log_every: int = setting(50, "Updates between points of the learning curve.", low=1, advanced=True)
    listwise: ListwiseSettings = group(ListwiseSettings)
    preference_model: PreferenceModelSettings = group(PreferenceModelSettings)

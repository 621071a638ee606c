"""``preset: paper``: the settings of the publication to the letter, and in what a run differs from it.

One table, :data:`PAPER`, holds both: what the preset sets, and what :func:`departures` compares with. It covers agent,
pre-training and judge, which the publication describes. The preset leaves the simulated users, the data and the length
of the training alone, so that ``ours`` and ``paper`` are tested on the same users; what differs there is stated by
:func:`departures` as text. Settings that the publication leaves open (batch size, replay buffer, length of a session,
alpha's schedule, learning rate) are not in the table.

Equations, algorithms and sections are those of Wang et al. 2025, "Large Language Model driven Policy Exploration for
Recommender Systems".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

OURS, PAPER_PRESET = "ours", "paper"
_PAPER_UPDATES = 50_000
Settings = Any  # ialp_rllib.settings.Settings, whose module imports this one


@dataclass(frozen=True)
class PaperValue:
    """One setting of the publication.

    Attributes:
        setting: dotted name.
        value: the publication's value; or a function of the settings, where it follows from another one.
        source: equation, algorithm or section.
        text: what the publication does, as a sentence.
        also: further values that agree with it.
        world: ``users.world`` that the row is for; empty: any.
    """

    setting: str
    value: Any
    source: str
    text: str
    also: tuple[Any, ...] = ()
    world: str = ""

    def applies(self, settings: Settings) -> bool:
        """Whether the row is for the world of these settings."""
        return self.world in ("", settings.users.world)

    def of(self, settings: Settings) -> Any:
        """The publication's value, for these settings."""
        return self.value(settings) if isinstance(self.value, Callable) else self.value  # type: ignore[arg-type]


@dataclass(frozen=True)
class Departure:
    """One difference from the publication.

    Attributes:
        setting: dotted name of the setting; empty where it is not one setting.
        here: what holds here; a value of the setting, or text.
        paper: what holds in the publication.
        text: what the publication does, as a sentence.
        source: equation, algorithm or section.
    """

    setting: str
    here: Any
    paper: Any
    text: str
    source: str = ""


def _whole_session(settings: Settings) -> int:
    return int(max(settings.agent.history, settings.users.horizon + 1))


PAPER = (
    PaperValue("agent.item_attributes", False, "Algorithm 1", "The state encoder embeds item ids only."),
    PaperValue("agent.history", _whole_session, "Algorithm 1", "The state is the whole session, s_t = G(x_1:t)."),
    PaperValue("agent.feedback", 0, "Algorithm 1", "The state holds items only, not how the user answered them."),
    PaperValue("agent.mask_recent", 0, "experiments", "Items may be recommended again on Coat.", world="rating"),
    PaperValue("agent.mask_recent", -1, "Algorithm 1", "No item is recommended twice in a session.", world="sequence"),
    PaperValue("agent.gamma", 0.9, "experiments", "The discount factor is 0.9."),
    PaperValue("agent.advantage", "td", "Eqs. 6, 9", "The actor's loss is weighted by the TD error of the critic."),
    PaperValue("agent.bootstrap", "max", "Eq. 8", "The value of the next state is max_a Q(s', a)."),
    PaperValue("agent.advantage_clip", 0.0, "Eqs. 6, 9", "The TD error is not clipped."),
    PaperValue("agent.entropy", 0.0, "Eq. 10", "The loss has no entropy bonus."),
    PaperValue("agent.entropy_steps", 0, "Eq. 10", "The loss has no entropy bonus, at no time."),
    PaperValue("agent.calibration", 0.0, "Eq. 8", "The critic has no conservative term."),
    PaperValue(
        "agent.anchor", 0.0, "Eqs. 12, 13", "Nothing holds the learning policy to the one that it started from."
    ),
    PaperValue("agent.shared_encoder", True, "Eq. 10", "Actor and critic losses both train the encoder."),
    PaperValue(
        "agent.actor_lr",
        attrgetter("agent.critic_lr"),
        "Eq. 10",
        "Actor and critic are trained by one loss, with one learning rate.",
    ),
    PaperValue("agent.dueling", False, "Eq. 8", "The critic has one output per item, Q(s, a)."),
    PaperValue("agent.target_rate", 0.0, "Eq. 8", "There is no target network."),
    PaperValue("agent.gradient_clip", 0.0, "Algorithms 1, 2", "The gradient is not clipped."),
    PaperValue(
        "agent.updates_per_step",
        attrgetter("agent.envs"),
        "Algorithms 1, 2",
        "Every step is followed by one update; 50,000 steps are read as 50,000 updates.",
    ),
    PaperValue("judge.candidates", 10, "Table 1", "The judge chooses among 10 candidates."),
    PaperValue("judge.answer", "letter", "Table 1", "The judge names the letter of a candidate."),
    PaperValue("judge.profile.shows", "none", "Table 1", "Of the user the prompt holds the history alone."),
    PaperValue("judge.orders", 1, "Eqs. 2, 3", "The judge is asked once per step."),
    PaperValue("judge.calibrate_letters", False, "Eqs. 2, 3", "The judge's answer is taken as it is."),
    PaperValue("judge.tune.enabled", True, "experiments", "The judge is tuned on logged interactions."),
    PaperValue("judge.tune.interactions", 1000, "experiments", "The judge is tuned on 1,000 logged interactions."),
    PaperValue("distil.starts", "log", "Algorithm 1", "A session starts with a logged item of a user."),
    PaperValue("pretrain.mode", "live", "Algorithm 1", "The judge answers the proposals of the learning actor."),
    PaperValue("pretrain.loss", "actor_critic", "Eqs. 8 to 10", "Actor and critic learn from the judge's rewards."),
    PaperValue(
        "pretrain.preference_model.rows",
        0,
        "Eqs. 8 to 10",
        "The policy learns from the judge's own answers alone, however few there are.",
        world="sequence",
    ),
    PaperValue("pretrain.proposals", "sampled", "Algorithm 1", "The candidates are sampled from the actor.", ("top",)),
    PaperValue("pretrain.groups", 1, "Algorithm 1", "The actor learns from an answer before it proposes again."),
    PaperValue("pretrain.rewards", "label", "Eq. 3", "The reward is 1 for a chosen candidate and 0 for None."),
    PaperValue("pretrain.rejected", 0.0, "Algorithm 1", "Candidates that the judge rejects are not learnt from."),
    PaperValue("pretrain.entropy", 0.0, "Eq. 10", "The loss of pre-training has no entropy bonus."),
    PaperValue(
        "adapt.beta_init",
        "theta",
        "Algorithm 2",
        "The learning policy starts as a copy of the pre-trained one (in section 5.4 at random).",
        also=("random",),
    ),
    PaperValue("adapt.critic", "none", "Algorithm 2", "No critic is learnt from users before the first online step."),
    PaperValue("adapt.rollout_steps", 0, "Algorithm 2", "The policy learns from the first online steps on."),
    PaperValue("adapt.offline_share", 0.0, "Algorithm 2", "One replay buffer, which starts empty."),
    PaperValue(
        "adapt.alpha.shape",
        "linear",
        "Eq. 14",
        "Alpha rises with the steps; its schedule is not stated.",
        also=("cosine", "sigmoid", "step"),
    ),
    PaperValue("adapt.alpha.end", 1.0, "Eq. 14", "Alpha rises to 1."),
)
"""The settings of the publication."""


def paper_values(settings: Settings) -> dict[str, Any]:
    """Dotted name -> value of the settings that ``preset: paper`` sets, given the others."""
    return {row.setting: row.of(settings) for row in PAPER if row.applies(settings)}


def departures(settings: Settings) -> list[Departure]:
    """In what a run with these settings differs from the publication.

    Returns:
        One entry per row of :data:`PAPER` that differs, then what is not one setting: judge, users, length.
    """
    found = []
    for row in PAPER:
        here = attrgetter(row.setting)(settings)
        if row.applies(settings) and here != row.of(settings) and here not in row.also:
            found.append(Departure(row.setting, here, row.of(settings), row.text, row.source))
    return [*found, *_judge(settings), *_users(settings), *_length(settings)]


def _judge(settings: Settings) -> list[Departure]:
    judge = settings.judge
    name = judge.model.lower()
    if "mistral" in name and "7b" in name:
        return []
    here = f"judge.model is {judge.model}"
    return [Departure("", here, "Mistral 7B", "The judge is a Mistral 7B, tuned by LoRA.", "experiments")]


def _users(settings: Settings) -> list[Departure]:
    users = settings.users
    if users.world == "sequence":
        here = "rewards of a user model fitted to the log, and patience (users.sequence, users.patience)"
        text = "The simulated users of the sequence data sets are described without formulas; these are ours."
        return [Departure("", here, "not stated in full", text, "experiments")]
    source = "Yu et al. 2024, EasyRL4Rec"
    found = []
    if users.protocol != "transfer":
        text = "Agents learn from a user model and are tested on the completed ratings."
        found.append(Departure("", f"protocol {users.protocol}", "protocol transfer", text, source))
    elif (users.deepfm.negatives, users.deepfm.negative_weight, users.deepfm.members) != (5, 1.0, 1):
        here = f"an ensemble of {users.deepfm.members} DeepFMs with settings of our own (users.deepfm)"
        paper = "one DeepFM, with 5 unobserved items per rating fitted to 0"
        found.append(Departure("", here, paper, "The train world is the user model of EasyRL4Rec.", source))
    if users.distance.lookback != "published":
        here = f"users.distance.lookback is {users.distance.lookback}"
        text = "The published code compares with fewer recommendations in the first steps of an episode."
        found.append(Departure("", here, "published", text, source))
    return found


def _length(settings: Settings) -> list[Departure]:
    agent, adapt = settings.agent, settings.adapt
    text = "The policy is pre-trained for 100 epochs; how many updates these are is not stated."
    pretrain = settings.pretrain
    here = f"{pretrain.updates:,} updates of pre-training"
    if pretrain.loss == "listwise":
        here = f"up to {pretrain.listwise.epochs:,} passes over the judge's answers, then {pretrain.critic_updates:,} "
        here += "updates of the critic"
    found = [Departure("", here, "100 epochs", text, "experiments")]
    updates = adapt.env_steps * agent.updates_per_step // agent.envs
    if updates != _PAPER_UPDATES:
        here = f"{updates:,} online updates in {adapt.env_steps:,} environment steps"
        text = "Online training takes 50,000 steps, each with one update."
        found.append(Departure("", here, f"{_PAPER_UPDATES:,} online updates", text, "experiments"))
    return found

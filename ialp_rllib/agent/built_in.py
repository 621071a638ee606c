"""The methods of this package, see :mod:`ialp_rllib.agent.methods`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ialp_rllib.agent.method import Method
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.settings import Settings


def _popularity(settings: Settings, catalogue: Catalogue, root: Path) -> dict[str, Any]:
    return {"scores": popularity(catalogue, settings.judge.min_rating)}


_GOES_ON = ("adapt.rollout_steps", "adapt.offline_share")  # of methods that go online with a policy made before
_CRITIC = ("adapt.critic", "adapt.critic_steps", "adapt.offline_from")  # of those whose policy has read the log

ENTRIES = {
    "random": Method(
        "Random",
        "uniform over the items that may be recommended",
        about="Recommends a uniform random item, independent of user and history.",
        learns=False,
        module="ialp_rllib.agent.rllib.baselines:FixedModule",
        reference=True,
        on_candidates=True,
    ),
    "popularity": Method(
        "Popularity",
        "number of interactions of the training users per item; greedy: the most popular item, sampled: in proportion",
        about="Recommends items by their number of interactions with the training users.",
        learns=False,
        module="ialp_rllib.agent.rllib.baselines:FixedModule",
        settings=("judge.min_rating",),
        features=_popularity,
        data="log",
        reference=True,
        on_candidates=True,
    ),
    "best_list": Method(
        "Best list",
        "one list for all users, chosen greedily on the train world's user model; the same when sampled",
        about="Plays one fixed list for everybody: the best by the user model that was fitted on the train log.",
        learns=False,
        module="ialp_rllib.agent.rllib.references:ListModule",
        features="ialp_rllib.agent.policy.references:best_list",
        settings=("users.horizon",),
        data="log",
        reference=True,
        worlds=("sequence",),
        on_candidates=True,
    ),
    "warm": Method(
        "Warm start",
        "SASRec (Kang & McAuley 2018): the agent's own actor by cross-entropy on the train log, no further learning",
        about="The agent's own network, trained to predict the next item of the log; it does not learn online.",
        start="warm",
        learns=False,
        data="log",
        reference=True,
        worlds=("sequence",),
        on_candidates=True,
    ),
    "model_greedy": Method(
        "Greedy on user model",
        "the item with the highest score of the train world's user model; sampled: softmax of its logits",
        about="Recommends what the user model that was fitted on the train log says the user likes most.",
        learns=False,
        module="ialp_rllib.agent.rllib.references:UserModelModule",
        features="ialp_rllib.agent.policy.references:user_model",
        data="log",
        reference=True,
        worlds=("sequence",),
        on_candidates=True,
    ),
    "judge_direct": Method(
        "Judge",
        "the judge itself as policy: an LLM by knockout over a shortlist of popular items, others over all items",
        about="The judge recommends by itself, without a policy: what it knows, before anything is learnt from it.",
        learns=False,
        judge_plays=True,
        module="ialp_rllib.agent.rllib.references:JudgeModule",
        settings=("judge.min_rating", "judge.shortlist"),
        data="judge",
        reference=True,
        worlds=("sequence",),
        on_candidates=True,
    ),
    "dqn": Method(
        "DQN",
        "Mnih et al. 2015, double (van Hasselt et al. 2016), dueling (Wang et al. 2016), from random weights",
        about="Deep Q-network, trained online from random weights.",
        module="ialp_rllib.agent.rllib.baselines:QModule",
        objective="ialp_rllib.agent.rllib.objectives:q_learning",
        settings=("adapt.dqn",),
    ),
    "pg": Method(
        "PG",
        "REINFORCE, Williams 1992, from random weights",
        about="REINFORCE policy gradient, trained online from random weights.",
        module="ialp_rllib.agent.rllib.baselines:PolicyGradientModule",
        objective="ialp_rllib.agent.rllib.objectives:reinforce",
        buffer="ialp_rllib.agent.policy.trajectories:Trajectories",
        replays=False,
        settings=("adapt.pg",),
    ),
    "a2c": Method(
        "A2C",
        "loss of section 3 with the reward of the environment, from random weights",
        about="Advantage actor-critic, trained online from random weights: the baseline.",
        on_candidates=True,
    ),
    "ialp": Method(
        "iALP",
        "iALP paper, Algorithm 1: the pre-trained policy, no further learning",
        about="The policy pre-trained against the LLM judge; it does not learn online.",
        start="pretrain",
        data="judge",
        learns=False,
        on_candidates=True,
    ),
    "llm_online": Method(
        "LLMOnline",
        "iALP paper, a baseline: the judge selects among the candidates of the actor, which learns from user rewards",
        about="The judge selects one of the actor's candidates at every online step.",
        judge_selects=True,
        data="judge",
    ),
    "warm_ft": Method(
        "Warm start, fine-tuned",
        "A-iALP_ft with the warm start in the place of iALP",
        about="The policy that was trained on the log is fine-tuned online.",
        start="warm",
        settings=(*_GOES_ON, *_CRITIC),
        data="log",
        worlds=("sequence",),
        on_candidates=True,
    ),
    "warm_ap": Method(
        "Warm start, adaptive",
        "A-iALP_ap with the warm start in the place of iALP",
        about="The policy that was trained on the log is frozen and mixed with a new one that learns online.",
        start="warm",
        mixture=True,
        module="ialp_rllib.agent.rllib.mixture:MixtureModule",
        settings=("adapt.alpha", "adapt.beta_init", *_GOES_ON, *_CRITIC),
        data="log",
        worlds=("sequence",),
        on_candidates=True,
    ),
    "aialp_ft": Method(
        "A-iALP_ft",
        "iALP paper, Algorithm 2, fine-tuning: Eqs. 12, 13",
        about="The pre-trained policy is fine-tuned online.",
        start="pretrain",
        settings=_GOES_ON,
        data="judge",
        on_candidates=True,
    ),
    "aialp_ap": Method(
        "A-iALP_ap",
        "iALP paper, Algorithm 2, adaptive policy: Eqs. 14, 15",
        about="The pre-trained policy is frozen and mixed with a new one that learns online; alpha shifts the weight.",
        start="pretrain",
        data="judge",
        mixture=True,
        module="ialp_rllib.agent.rllib.mixture:MixtureModule",
        settings=("adapt.alpha", "adapt.beta_init", *_GOES_ON),
        on_candidates=True,
    ),
    "ialp_log": Method(
        "iALP+log",
        "the judge's preferences, the next items of the log and the train world's user model in one loss; no learning",
        about="One policy from both sources, the log and the judge; it does not learn online.",
        start="joint",
        learns=False,
        data="both",
        worlds=("sequence",),
        on_candidates=True,
    ),
    "ialp_log_ft": Method(
        "iALP+log, fine-tuned",
        "A-iALP_ft with iALP+log in the place of iALP",
        about="The policy that was trained on log and judge together is fine-tuned online.",
        start="joint",
        settings=(*_GOES_ON, *_CRITIC),
        data="both",
        worlds=("sequence",),
        on_candidates=True,
    ),
    "ialp_log_ap": Method(
        "iALP+log, adaptive",
        "A-iALP_ap with iALP+log in the place of iALP",
        about="The policy that was trained on log and judge together is frozen and mixed with one that learns online.",
        start="joint",
        mixture=True,
        module="ialp_rllib.agent.rllib.mixture:MixtureModule",
        settings=("adapt.alpha", "adapt.beta_init", *_GOES_ON, *_CRITIC),
        data="both",
        worlds=("sequence",),
        on_candidates=True,
    ),
}
"""By name, in the order of the result tables: from no learning to the full method."""

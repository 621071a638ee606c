"""Constraints between settings: combinations that a library would refuse after minutes, or that mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ialp_rllib.errors import InputError
from ialp_rllib.settings.adapt import AdaptSettings
from ialp_rllib.settings.agent import AgentSettings
from ialp_rllib.settings.catalogue import ITEM_COLUMNS, USER_COLUMNS, CatalogueSettings
from ialp_rllib.settings.judge import DistilSettings, JudgeSettings
from ialp_rllib.settings.judge_model import EMBEDDING, LLM, RATINGS, WORDS, parse_judge_model
from ialp_rllib.settings.pretraining import PretrainSettings
from ialp_rllib.settings.users import UsersSettings

_LONGEST_NAME = 200  # bytes; file systems allow 255, and suffixes are added
_MOST_LAYERS = 64


def check_together(
    scenario: str,
    seeds: tuple[int, ...],
    catalogue: CatalogueSettings,
    users: UsersSettings,
    judge: JudgeSettings,
    agent: AgentSettings,
    distil: DistilSettings,
    pretrain: PretrainSettings,
    adapt: AdaptSettings,
) -> None:
    """Refuse settings that contradict each other.

    Raises:
        InputError: they do.
    """
    _check_agent(agent, users)
    _check_judge(judge, users)
    if distil.rounds > 1 and distil.sessions < 2 * distil.rounds:
        problem = f"is {distil.rounds}, with {distil.sessions} sessions"
        raise InputError("distil.rounds", problem, "at least two sessions (distil.sessions) per round")
    _check_vectors(agent.item_vectors, judge)
    _check_candidates(agent, pretrain, adapt)
    _check_pretraining(pretrain)
    _check_methods(seeds, adapt, agent)
    _check_names(scenario, catalogue)
    hidden = users.deepfm.hidden
    if len(hidden) > _MOST_LAYERS:
        raise InputError("users.deepfm.hidden", f"has {len(hidden)} layers", f"up to {_MOST_LAYERS}")


def _check_agent(agent: AgentSettings, users: UsersSettings) -> None:
    longest = users.horizon + 1
    if agent.mask_recent > agent.history:
        raise InputError("agent.mask_recent", f"is {agent.mask_recent}", f"at most agent.history = {agent.history}")
    if agent.mask_recent < 0 and agent.history < longest:
        raise InputError(
            "agent.mask_recent",
            f"is -1 (the whole session), but the state holds the last {agent.history} items only",
            f"agent.history of at least users.horizon + 1 = {longest}",
        )
    if agent.dim % agent.heads:
        raise InputError("agent.heads", f"is {agent.heads}", f"a divisor of agent.dim = {agent.dim}")
    if agent.warmup > agent.replay:
        problem = f"is {agent.warmup}, which the replay buffer cannot hold: there would be no update"
        raise InputError("agent.warmup", problem, f"at most agent.replay = {agent.replay}")


def _check_candidates(agent: AgentSettings, pretrain: PretrainSettings, adapt: AdaptSettings) -> None:
    few = agent.candidates
    if not few.count:
        return
    masked = agent.history if agent.mask_recent < 0 else agent.mask_recent
    if few.popular <= masked:
        problem = f"is {few.popular}, and {masked} items may be masked in a state"
        raise InputError("agent.candidates.popular", problem, f"at least {masked + 1}")
    if agent.exploration == "epsilon_greedy":
        problem = "is epsilon_greedy, whose uniform items are of the whole catalogue, and agent.candidates.count is set"
        raise InputError("agent.exploration", problem, "categorical, with agent.candidates.epsilon; or greedy")
    if pretrain.mode == "live":
        problem = "is live, whose proposals are of the whole catalogue, and agent.candidates.count is set"
        raise InputError("pretrain.mode", problem, "table, or agent.candidates.count=0")
    rows = pretrain.preference_model.rows
    if rows > 0:
        problem = f"is {rows}, whose states are learnt over all items, and agent.candidates.count is set"
        raise InputError("pretrain.preference_model.rows", problem, "0, or agent.candidates.count=0")
    if agent.calibration:
        problem = f"is {agent.calibration:g}, whose term is over all items, and agent.candidates.count is set"
        raise InputError("agent.calibration", problem, "0, or agent.candidates.count=0")
    if adapt.critic != "none":
        problem = f"is {adapt.critic}, whose critic is of a policy over all items, and agent.candidates.count is set"
        raise InputError("adapt.critic", problem, "none, or agent.candidates.count=0")
    if adapt.alpha.by == "session":
        problem = "is session, which needs probabilities of all items, and agent.candidates.count is set"
        raise InputError("adapt.alpha.by", problem, "step, or agent.candidates.count=0")


def _check_vectors(vectors: str, judge: JudgeSettings) -> None:
    kind, folder = parse_judge_model(vectors)
    if vectors != WORDS and vectors != LLM and not (kind == EMBEDDING and folder):
        raise InputError("agent.item_vectors", f"is {vectors}", f"{WORDS}, {LLM}, or embedding:FOLDER")
    if vectors == LLM and not judge.is_llm:
        problem = f"is {LLM}, and the judge ({judge.model}) is none"
        raise InputError("agent.item_vectors", problem, f"{WORDS}, embedding:FOLDER, or an LLM as judge.model")


def _check_judge(judge: JudgeSettings, users: UsersSettings) -> None:
    if not judge.model:
        raise InputError("judge.model", "is empty", "`tiny`, `oracle`, a folder, or a Hugging Face model id")
    if judge.kind == EMBEDDING and not parse_judge_model(judge.model).folder:
        raise InputError("judge.model", f"is {judge.model}", "embedding:FOLDER, with the folder of a text encoder")
    if judge.kind == RATINGS and users.world != "rating":
        problem = f"is {RATINGS}, and users.world is {users.world}: there are no ratings to fit"
        raise InputError("judge.model", problem, "an LLM, `oracle`, or users.world: rating")
    if judge.tensor_parallel > 1 and judge.gpus != judge.tensor_parallel:
        raise InputError("judge.gpus", f"is {judge.gpus:g}", f"judge.tensor_parallel = {judge.tensor_parallel}")
    if judge.gpus > 1 and not judge.gpus.is_integer():
        raise InputError("judge.gpus", f"is {judge.gpus:g}", "a fraction of one GPU, or a whole number of GPUs")
    if judge.orders > judge.candidates:
        raise InputError("judge.orders", f"is {judge.orders}", f"at most judge.candidates = {judge.candidates}")
    weight = judge.likelihood.own_weight
    if -1 < weight < 0:
        raise InputError("judge.likelihood.own_weight", f"is {weight:g}", "-1 (chosen), or a number from 0 to 2")
    tune = judge.tune
    if judge.is_llm and tune.enabled and tune.objective == "sequence" and judge.answer == "letter":
        problem = "is sequence, which teaches no letters, and judge.answer is letter"
        raise InputError("judge.tune.objective", problem, "judge.answer=likelihood or auto; or label")
    if tune.curriculum and tune.curriculum >= tune.epochs:
        problem = f"is {tune.curriculum}: no pass of {tune.epochs} is left for all candidates"
        raise InputError("judge.tune.curriculum", problem, "fewer than judge.tune.epochs")
    _require_distinct("judge.tune.targets", judge.tune.targets, "module", least=1)
    _require_distinct("judge.tune.also", judge.tune.also, "run")


def _check_pretraining(pretrain: PretrainSettings) -> None:
    if pretrain.mode == "live" and pretrain.loss == "listwise":
        problem = "is listwise, which goes through a table of answers again and again, and pretrain.mode is live"
        raise InputError("pretrain.loss", problem, "actor_critic, or pretrain.mode=table")
    if pretrain.source == "lea" and pretrain.loss != "listwise":
        problem = f"is lea, which is learnt from listwise, and pretrain.loss is {pretrain.loss}"
        raise InputError("pretrain.source", problem, "judge, or pretrain.loss=listwise")
    rows = pretrain.preference_model.rows
    if rows > 0 and (pretrain.loss != "listwise" or pretrain.source != "judge"):
        problem = f"is {rows}, and pre-training is not listwise from the judge's table"
        raise InputError("pretrain.preference_model.rows", problem, "0, or pretrain.loss=listwise and source=judge")


def _check_methods(seeds: tuple[int, ...], adapt: AdaptSettings, agent: AgentSettings) -> None:
    _require_distinct("seeds", seeds, "seed", least=1)
    _require_distinct("adapt.methods", adapt.methods, "method", least=1)
    _require_distinct("adapt.plugins", adapt.plugins, "module")
    _require_distinct("adapt.budgets", adapt.budgets, "budget", least=1)
    if "samples" not in adapt.budgets:
        raise InputError("adapt.budgets", "leaves out samples, which all tables are made of", "[samples, updates]")
    played = adapt.critic == "train_world" or adapt.rollout_steps or adapt.offline_from == "log"
    if adapt.offline_share and not played:
        problem = f"is {adapt.offline_share:g}, and there are no transitions of the start to draw from"
        expected = "0, or adapt.rollout_steps above 0, adapt.critic=train_world, or adapt.offline_from=log"
        raise InputError("adapt.offline_share", problem, expected)
    returns = adapt.offline_share and (adapt.critic == "train_world" or adapt.offline_from == "log")
    if agent.calibration and not returns:
        problem = f"is {agent.calibration:g}, and no transition that batches mix in carries a return"
        expected = "0, or adapt.offline_share above 0 with adapt.critic=train_world or adapt.offline_from=log"
        raise InputError("agent.calibration", problem, expected)
    alpha = adapt.alpha
    if alpha.shape != "constant" and alpha.start > alpha.end:
        problem = f"is {alpha.start:g}: alpha would fall, from the learning policy back to the pre-trained one"
        raise InputError("adapt.alpha.start", problem, f"at most adapt.alpha.end = {alpha.end:g}, or shape constant")
    if alpha.by == "session" and agent.exploration != "categorical":
        problem = "is session, which is drawn from the probabilities of the two policies"
        raise InputError("adapt.alpha.by", problem, f"step, or agent.exploration=categorical, not {agent.exploration}")


def _require_distinct(name: str, values: Sequence[Any], noun: str, least: int = 0) -> None:
    if len(values) < least:
        raise InputError(name, "is empty", f"at least one {noun}")
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise InputError(
            name,
            f"holds {str(twice)[:300]!r} twice" if isinstance(twice, str) else f"holds {twice} twice",
            f"every {noun} once",
        )
    if "" in values:
        raise InputError(name, "holds an empty text", f"the name of a {noun}")


def _check_names(scenario: str, catalogue: CatalogueSettings) -> None:
    for name, reserved in (("attributes", ITEM_COLUMNS), ("user_attributes", USER_COLUMNS)):
        names = getattr(catalogue, name)
        for attribute in names:
            if attribute in reserved:
                raise InputError(
                    f"catalogue.{name}", f"holds {attribute!r}", "another name, mapped to the column by `columns`"
                )
            if names.count(attribute) > 1:
                raise InputError(f"catalogue.{name}", f"holds {attribute[:300]!r} twice", "every attribute once")
    check_scenario_name(scenario)


def check_scenario_name(scenario: str) -> None:
    """Refuse names that no folder can have.

    Raises:
        InputError: it is one.
    """
    if "/" in scenario or scenario in (".", "..") or not (scenario.isprintable() and scenario == scenario.strip()):
        raise InputError("scenario", f"is {scenario[:300]!r}", "a valid folder name, without spaces at its ends")
    if len(scenario.encode()) > _LONGEST_NAME:
        raise InputError("scenario", f"has {len(scenario.encode())} bytes", f"a name of up to {_LONGEST_NAME}")

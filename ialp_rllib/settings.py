"""Settings: frozen dataclasses, one per stage, read from a scenario's YAML and from ``--set key=value``.

Every number a user could want to change stands here with its meaning and its range. Values are checked when they are
read; an unknown key is answered with the nearest known one. :func:`fingerprint` hashes settings, so that a stage knows
whether what lies on disk was made with them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from ialp_rllib.errors import InputError

T = TypeVar("T")


def setting(
    default: Any, doc: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """A dataclass field with its documentation and its range (``low <= value <= high``)."""
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})


def group(cls: type[T]) -> T:
    """A dataclass field that holds a group of settings."""
    return field(default_factory=cls)


@dataclass(frozen=True)
class CatalogueSettings:
    """What can be recommended, and what users did."""

    source: str = setting("parquet", "How the data lies on disk.", choices=("parquet", "coat"))
    data: str = setting("", "Folder of the data; empty: the scenario's own, inside the package. Also `--data`.")
    attributes: tuple[str, ...] = setting((), "Item attributes, in the order in which the judge reads them.")
    user_attributes: tuple[str, ...] = setting((), "User attributes for user models and the agent's state.")
    test_share: float = setting(0.2, "Share of the users kept for the test world.", low=0.01, high=0.9)
    split_seed: int = setting(0, "Seed of the split of the users into train and test.", low=0)


@dataclass(frozen=True)
class DeepFMSettings:
    """The user model of a rating world: DeepFM (Guo et al. 2017) on ids and attributes."""

    dim: int = setting(8, "Embedding size.", low=1, high=1024)
    hidden: tuple[int, ...] = setting((128, 128), "Widths of the deep part.")
    negatives: int = setting(5, "Unobserved pairs per rating, fitted to 0.", low=0, high=100)
    negative_weight: float = setting(1.0, "Weight of the unobserved pairs in the loss.", low=0.0, high=100.0)
    debias: bool = setting(False, "Weight each rating by 1 / its propensity (needs propensities in the data).")
    learning_rate: float = setting(1e-3, "Adam's step size.", low=1e-6, high=1.0)
    weight_decay: float = setting(1e-4, "L2 penalty of the embeddings and weights.", low=0.0, high=10.0)
    batch: int = setting(256, "Ratings per update.", low=1)
    epochs: int = setting(100, "Most passes over the ratings.", low=1)
    early_stopping: int = setting(5, "Stop after so many passes without a better held-out error.", low=1)
    held_out: float = setting(0.1, "Share of the ratings held out for early stopping.", low=0.01, high=0.9)


@dataclass(frozen=True)
class DistanceSettings:
    """Leaving by boredom (rating worlds): too similar to what was just recommended."""

    window: int = setting(7, "How many of the last recommended items the user remembers.", low=1)
    distance: float = setting(6.0, "Items nearer than this (Euclidean, rating columns) bore.", low=0.0)
    lookback: str = setting(
        "plain",
        "plain: the last min(t, window); published: the slip of the public code.",
        choices=("plain", "published"),
    )


@dataclass(frozen=True)
class SequenceModelSettings:
    """The user model of a sequence world: attention over the session (after HAC, Liu et al. 2023)."""

    dim: int = setting(32, "Embedding size.", low=1, high=1024)
    window: int = setting(20, "Items of the session that the model attends to.", low=1, high=1024)
    negatives: int = setting(4, "Sampled negatives per logged next item.", low=1, high=1000)
    learning_rate: float = setting(3e-3, "Adam's step size.", low=1e-6, high=1.0)
    weight_decay: float = setting(1e-5, "L2 penalty.", low=0.0, high=10.0)
    batch: int = setting(512, "Logged next items per update.", low=1)
    epochs: int = setting(30, "Most passes over the log.", low=1)
    early_stopping: int = setting(3, "Stop after so many passes without a better held-out loss.", low=1)
    held_out: float = setting(0.1, "Share of the log held out for early stopping.", low=0.01, high=0.9)
    reward_scale: float = setting(5.0, "r = scale * p.", low=0.01)
    uniform_reward: float = setting(0.35, "Mean reward of a uniform random item after calibration.", low=0.001)


@dataclass(frozen=True)
class PatienceSettings:
    """Leaving by lost patience (sequence worlds): each step costs ``base + indifference * (1 - p)``."""

    start: float = setting(10.0, "Patience at the start.", low=0.1)
    base: float = setting(1.0, "Cost of a step with a perfect item.", low=0.0)
    indifference: float = setting(1.1, "Extra cost of a step with an item that the user cares nothing for.", low=0.0)
    floor: float = setting(1.0, "The user leaves below this.", low=0.0)


@dataclass(frozen=True)
class UsersSettings:
    """The simulated users."""

    world: str = setting(
        "sequence", "rating: users rate (Coat). sequence: users follow a session.", choices=("rating", "sequence")
    )
    protocol: str = setting(
        "transfer",
        "transfer: train world = fitted user model, test world = truth (or a second model). "
        "split: both worlds = truth, other users.",
        choices=("transfer", "split"),
    )
    horizon: int = setting(20, "Step limit of an episode.", low=1, high=10_000)
    seed: int = setting(0, "Seed of the user models.", low=0)
    deepfm: DeepFMSettings = group(DeepFMSettings)
    distance: DistanceSettings = group(DistanceSettings)
    sequence: SequenceModelSettings = group(SequenceModelSettings)
    patience: PatienceSettings = group(PatienceSettings)


@dataclass(frozen=True)
class TuneSettings:
    """LoRA tuning of the judge on logged interactions: it learns the format of the answer."""

    enabled: bool = setting(True, "Whether to tune at all.")
    interactions: int = setting(1000, "Logged interactions to learn from.", low=1)
    none_share: float = setting(0.1, "Share of prompts without the true item, answered None.", low=0.0, high=1.0)
    rank: int = setting(8, "LoRA rank.", low=1, high=1024)
    lora_alpha: float = setting(16.0, "LoRA scale.", low=0.01)
    learning_rate: float = setting(5e-4, "AdamW's step size.", low=1e-7, high=1.0)
    epochs: int = setting(2, "Passes over the interactions.", low=1)
    batch: int = setting(32, "Prompts per update.", low=1)
    warmup: float = setting(0.1, "Share of the updates over which the step size rises to its value.", low=0.0, high=1.0)


@dataclass(frozen=True)
class JudgeSettings:
    """The LLM that plays the user."""

    model: str = setting("tiny", "`tiny` (ships with the package), a folder, or a Hugging Face model id.")
    engine: str = setting(
        "auto", "auto: vllm where it is installed, else transformers.", choices=("auto", "vllm", "transformers")
    )
    dtype: str = setting("float32", "Precision of the model's weights.", choices=("float32", "bfloat16", "float16"))
    candidates: int = setting(10, "Candidates per prompt (k); one more label stands for None.", low=2, high=25)
    history: int = setting(10, "Items of the history in the prompt, the latest ones.", low=1, high=1000)
    platform: str = setting("a shop", "You are a user of ...")
    item_noun: str = setting("item", "What an item is called in the prompt.")
    batch: int = setting(256, "Prompts per call of the engine.", low=1)
    cpus: int = setting(1, "CPUs of the judge's Ray actor.", low=0)
    gpus: float = setting(0.0, "GPUs of the judge's Ray actor.", low=0.0)
    memory_share: float = setting(0.2, "Share of the (GPU) memory that vLLM may take.", low=0.01, high=1.0)
    max_length: int = setting(1024, "Longest prompt, in tokens.", low=16)
    min_rating: float = setting(0.0, "Logged interactions rated lower are not taken for what a user chose.")
    audit_prompts: int = setting(1000, "Held-out prompts for accuracy and letter bias.", low=1)
    seed: int = setting(0, "Seed of the tuning prompts and of the audit.", low=0)
    tune: TuneSettings = group(TuneSettings)


@dataclass(frozen=True)
class DistilSettings:
    """Distillation of the judge's preferences into a table."""

    sessions: int = setting(256, "Sessions that the judge plays.", low=1)
    steps: int = setting(20, "Steps of a session (T of Algorithm 1).", low=1, high=10_000)
    seed: int = setting(0, "Seed of starts and proposals.", low=0)


@dataclass(frozen=True)
class AgentSettings:
    """What learns: encoder, heads, loss, exploration, replay. Shared by all methods."""

    dim: int = setting(64, "Size of the item embeddings and the state.", low=2, high=4096)
    blocks: int = setting(1, "Self-attention blocks.", low=0, high=64)
    heads: int = setting(2, "Attention heads.", low=1, high=64)
    item_attributes: bool = setting(True, "Whether items are known by their attributes, too, not by their ids alone.")
    history: int = setting(10, "Items of the session that the state is made of.", low=1, high=1024)
    mask_recent: int = setting(7, "The last items of the session that may not be recommended; -1: all.", low=-1)
    gamma: float = setting(0.9, "Discount.", low=0.0, high=0.9999)
    advantage: str = setting("expected", "Form of the actor's loss.", choices=("td", "expected", "all_actions"))
    bootstrap: str = setting(
        "policy", "Value of the next state: max_a Q (Eq. 8) or the policy's mean of Q.", choices=("max", "policy")
    )
    advantage_clip: float = setting(1.0, "Clamp the advantage to +- this; 0: no clamp.", low=0.0)
    entropy: float = setting(0.1, "Weight of the entropy bonus.", low=0.0, high=100.0)
    actor_lr: float = setting(1e-4, "Adam's step size of the actor's head.", low=1e-7, high=1.0)
    critic_lr: float = setting(1e-3, "Adam's step size of encoder and critic.", low=1e-7, high=1.0)
    shared_encoder: bool = setting(False, "Whether the actor's loss reaches the encoder (the paper's form).")
    target_rate: float = setting(0.01, "Rate of the target network; 0: none (the paper's form).", low=0.0, high=1.0)
    gradient_clip: float = setting(10.0, "Clip the gradient's norm to this; 0: no clip.", low=0.0)
    batch: int = setting(64, "Transitions per update.", low=1)
    replay: int = setting(100_000, "Transitions kept.", low=1)
    warmup: int = setting(256, "Transitions before the first update.", low=1)
    envs: int = setting(32, "Users that are served side by side.", low=1)
    updates_per_step: int = setting(1, "Updates per step of all users.", low=0, high=1000)
    exploration: str = setting(
        "categorical", "How to act while learning.", choices=("categorical", "epsilon_greedy", "greedy")
    )
    epsilon: float = setting(0.1, "Probability of a uniform random item under epsilon_greedy.", low=0.0, high=1.0)


@dataclass(frozen=True)
class PretrainSettings:
    """iALP: pre-training against the judge (Algorithm 1)."""

    mode: str = setting(
        "table",
        "table: from the preference table. live: the judge answers while the policy learns.",
        choices=("table", "live"),
    )
    updates: int = setting(2000, "Updates.", low=1)
    proposals: str = setting("sampled", "How the policy proposes candidates (live).", choices=("sampled", "top"))
    checkpoint_every: int = setting(500, "Updates between checkpoints.", low=1)
    log_every: int = setting(50, "Updates between points of the learning curve.", low=1)


@dataclass(frozen=True)
class AlphaSettings:
    """The mixture's weight of the learning policy over environment steps (Eq. 14)."""

    shape: str = setting("linear", "Shape of the rise.", choices=("constant", "linear", "cosine", "sigmoid", "step"))
    start: float = setting(0.1, "Value at the start.", low=0.0, high=1.0)
    end: float = setting(1.0, "Value at the end (not for `constant`).", low=0.0, high=1.0)
    steps: int = setting(50_000, "Environment steps from start to end.", low=1)


@dataclass(frozen=True)
class AdaptSettings:
    """Going online (Algorithm 2)."""

    methods: tuple[str, ...] = setting(("a2c", "ialp", "aialp_ft", "aialp_ap"), "Methods to run.")
    env_steps: int = setting(50_000, "Environment steps of each run.", low=1)
    epoch_steps: int = setting(1000, "Environment steps of an epoch.", low=1)
    beta_init: str = setting("random", "Where the learning policy of ap starts.", choices=("random", "theta"))
    checkpoint_every: int = setting(10_000, "Environment steps between checkpoints.", low=1)
    log_every: int = setting(500, "Environment steps between points of the learning curve.", low=1)
    alpha: AlphaSettings = group(AlphaSettings)


@dataclass(frozen=True)
class EvaluateSettings:
    """Measuring a policy in the test world."""

    episodes: int = setting(232, "Episodes per measurement, spread evenly over the test users.", low=1)
    every: int = setting(5000, "Environment steps between measurements after epoch 2.", low=1)
    seed: int = setting(12345, "Seed of the starts: the same for every method.", low=0)


@dataclass(frozen=True)
class RuntimeSettings:
    """Where things run."""

    address: str = setting("", "Ray cluster to join; empty: RAY_ADDRESS if set, else this machine.")
    cpus: int = setting(0, "CPUs to use on this machine; 0: all.", low=0)
    local_mode: bool = setting(False, "Everything in one process, for debuggers. Also `--local-mode`.")
    threads: int = setting(1, "Threads of a training run.", low=1)
    env_runners: int = setting(0, "Ray actors that step the users of a training run; 0: the run's own process.", low=0)


@dataclass(frozen=True)
class Settings:
    """A scenario and everything that is done with it."""

    scenario: str = setting("", "Name of the scenario.")
    seeds: tuple[int, ...] = setting((0,), "One training run per seed and method.")
    catalogue: CatalogueSettings = group(CatalogueSettings)
    users: UsersSettings = group(UsersSettings)
    judge: JudgeSettings = group(JudgeSettings)
    distil: DistilSettings = group(DistilSettings)
    agent: AgentSettings = group(AgentSettings)
    pretrain: PretrainSettings = group(PretrainSettings)
    adapt: AdaptSettings = group(AdaptSettings)
    evaluate: EvaluateSettings = group(EvaluateSettings)
    runtime: RuntimeSettings = group(RuntimeSettings)


SCENARIOS = Path(__file__).parent / "scenarios"


def load(scenario: str, overrides: list[str] | tuple[str, ...] = ()) -> Settings:
    """Read a scenario.

    Args:
        scenario: name of a scenario of the package (``sample``, ``coat``), or path of a YAML file.
        overrides: ``key=value`` pairs with dotted keys, the value in YAML: ``judge.candidates=5``.

    Raises:
        InputError: no such scenario; unknown key; value of the wrong type or out of range.
    """
    path = Path(scenario) if scenario.endswith((".yaml", ".yml")) else SCENARIOS / f"{scenario}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SCENARIOS.glob("*.yaml")))
        raise InputError(f"scenario {scenario!r}", "not found", f"one of {known}, or the path of a .yaml file")
    tree = read_yaml(path)
    for override in overrides:
        _override(tree, override)
    places = {override.partition("=")[0]: f"--set {override}" for override in overrides}
    settings = from_dict(Settings, tree, str(path), places=places)
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    """What no setting can say alone."""
    agent, longest = settings.agent, settings.users.horizon + 1
    if agent.mask_recent > agent.history:
        raise InputError("agent.mask_recent", f"is {agent.mask_recent}", f"at most agent.history = {agent.history}")
    if agent.mask_recent < 0 and agent.history < longest:
        raise InputError(
            "agent.mask_recent",
            f"is -1 (the whole session), but the state holds only the last {agent.history} items",
            f"agent.history of at least users.horizon + 1 = {longest}",
        )
    if agent.dim % agent.heads:
        raise InputError("agent.heads", f"is {agent.heads}", f"a divisor of agent.dim = {agent.dim}")
    if not settings.seeds:
        raise InputError("seeds", "is empty", "at least one seed")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, or an :class:`InputError` that names the line."""
    try:
        tree = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise InputError(where, f"not valid YAML ({getattr(error, 'problem', error)})", "key: value pairs") from error
    if not isinstance(tree, dict):
        raise InputError(str(path), f"holds {type(tree).__name__}, not settings", "key: value pairs")
    return tree


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override}", "is not key=value", "for example --set agent.gamma=0.95")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}", "the value is not valid YAML", "for example 3, true, [1, 2]") from error
    *groups, last = key.split(".")
    for name in groups:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise InputError(f"--set {override}", f"{name!r} is a value, not a group of settings")
    tree[last] = value


def from_dict(
    cls: type[T], tree: dict[str, Any], where: str, prefix: str = "", places: Mapping[str, str] = MappingProxyType({})
) -> T:
    """Build settings of class ``cls`` from a nested mapping, checking keys, types and ranges.

    Args:
        where: what errors name as the place, apart from the settings in ``places``, which have one of their own.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        place = places.get(name, where)
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.5)
            hint = f"{prefix}{near[0]}?" if near else f"one of {', '.join(fields)}"
            raise InputError(place, f"unknown setting {name!r}", hint)
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise InputError(place, f"{name} is {value!r}", "a group of settings")
            values[key] = from_dict(hints[key], value, where, f"{name}.", places)
        else:
            values[key] = _checked(value, hints[key], fields[key].metadata, place, name)
    return cls(**values)


def _checked(value: Any, hint: Any, meta: Mapping[str, Any], where: str, name: str) -> Any:
    """One value, converted to its declared type and checked against its range."""
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise InputError(where, f"{name} is {value!r}", f"a list of {inner.__name__} values")
        return tuple(_checked(v, inner, meta, where, name) for v in value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        with contextlib.suppress(ValueError):  # text that is no number meets the type error below
            value = float(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise InputError(where, f"{name} is {value!r}", f"{_type_name(hint)} ({meta['doc']})")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = meta["low"], meta["high"]
        outside = (low is not None and value < low) or (high is not None and value > high)
        if outside or not math.isfinite(value):
            bounds = f"from {low if low is not None else '-inf'} to {high if high is not None else 'inf'}"
            raise InputError(where, f"{name} is {value}", f"{bounds} ({meta['doc']})")
    if meta["choices"] and value not in meta["choices"]:
        raise InputError(where, f"{name} is {value!r}", f"one of {', '.join(meta['choices'])}")
    return value


def _type_name(hint: type) -> str:
    return {float: "a number", int: "a whole number", bool: "true or false", str: "text"}.get(hint, str(hint))


def to_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain data that YAML and JSON can hold."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def fingerprint(*parts: Any) -> str:
    """SHA-256 (16 hex digits) of settings and other plain data, independent of the order of keys."""
    text = json.dumps(parts, sort_keys=True, default=dataclasses.asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""An exported policy: what a service needs of a run, in a folder of open formats that loads without Ray.

================  ==============================================================================================
file              holds
================  ==============================================================================================
``theta/``        the frozen policy pi_theta, as :mod:`ialp_rllib.agent.policy.saved` describes it
``beta/``         the policy pi_beta that learns, likewise; absent: the learner begins with a copy of pi_theta
``policy.json``   method and seed; ``agent``: the settings of networks, losses and replay; ``serving``: defaults of
                  :class:`ialp_rllib.settings.serving.ServingSettings`, among them the range of rewards and the
                  schedule of alpha; the range of the answers' levels; texts of the items; the run's fingerprints;
                  ``departures``: settings of the run by which the service learns otherwise, and how
``manifest.json`` size and SHA-256 of the other files; written last
================  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ialp_rllib
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.agent.policy.retrieval import Retrieval
from ialp_rllib.agent.policy.saved import CONFIG, WEIGHTS, load_policy, read_weights, save_policy
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AgentSettings, from_dict, to_dict
from ialp_rllib.settings.serving import ServingSettings, serving_settings
from ialp_rllib.storage import Stage, read_json, require_intact, write_json

FORMAT = 1
POLICY, THETA, BETA = "policy.json", "theta", "beta"
OWNED = (POLICY, *(f"{part}/{name}" for part in (THETA, BETA) for name in (WEIGHTS, CONFIG)))
_FIELDS = ("format", "method", "seed", "agent", "serving", "item_texts", "fingerprints", "alpha_at_end")
_EXPECTED = "a folder that `ialp export` left"


@dataclass(frozen=True)
class Artifact:
    """What :func:`write_artifact` left, checked.

    Attributes:
        folder: where it lies.
        method, seed: of the training run that it was exported from.
        agent: settings of networks, losses and replay.
        serving: defaults of the service's settings, a nested mapping.
        network: sizes and features of the networks.
        item_ids, user_ids: ids by index; users only where the state knows them.
        item_texts: attribute -> text of each item.
        has_beta: whether the learning policy begins with weights of its own.
        alpha_at_end: weight of pi_beta when the run ended; None: it had no mixture.
        fingerprint: of the run.
        level_range: rewards of the lowest and the highest level of the answers in the state, as in training.
        retrieval: where the candidates are from, of a policy that acts on some; the service makes indexes of weights.
        departures: setting of the run by which the service learns otherwise -> how, see :mod:`.departures`.
    """

    folder: Path
    method: str
    seed: int
    agent: AgentSettings
    serving: dict[str, Any]
    network: NetworkConfig
    item_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    item_texts: dict[str, list[str]]
    has_beta: bool
    alpha_at_end: float | None
    fingerprint: str
    level_range: tuple[float, float]
    retrieval: Retrieval | None = None
    departures: Mapping[str, str] = field(default_factory=dict)

    def weights(self, part: str = THETA) -> Path:
        """The file with the weights of ``theta`` or ``beta``; of an absent beta those of theta."""
        return self.folder / (part if part != BETA or self.has_beta else THETA) / WEIGHTS

    def theta(self) -> Policy:
        """The frozen policy."""
        policy = load_policy(self.folder / THETA).acting.policy
        assert isinstance(policy, Policy), "read_artifact checked how it acts"
        return policy

    def settings(self, overrides: Sequence[str] = ()) -> ServingSettings:
        """Settings of a service with this policy; ``overrides``: ``key=value``."""
        return serving_settings(self.serving, overrides, str(self.folder / POLICY))


def write_artifact(
    folder: Path,
    *,
    method: str,
    seed: int,
    agent: AgentSettings,
    serving: Mapping[str, Any],
    network: NetworkConfig,
    theta: Mapping[str, Any],
    beta: Mapping[str, Any] | None = None,
    item_ids: Sequence[str] = (),
    user_ids: Sequence[str] = (),
    item_texts: Mapping[str, Sequence[str]] | None = None,
    alpha_at_end: float | None = None,
    fingerprint: str = "",
    level_range: tuple[float, float] | None = None,
    retrieval: Retrieval | None = None,
    departures: Mapping[str, str] | None = None,
) -> None:
    """Write an exported policy; the arguments are those of :class:`Artifact`, weights are state dicts.

    Without ``level_range`` it is the range of rewards in ``serving``.

    Raises:
        InputError: the folder holds files that no export left there, or cannot be written to.
    """
    stage = Stage(folder, "policy", fingerprint, OWNED)
    stage.open()
    for part, weights in ((THETA, theta), (BETA, beta)):
        if weights is None:
            continue
        (folder / part).mkdir(exist_ok=True)
        kept = {name: tensor for name, tensor in weights.items() if name.startswith(("policy.", "critic."))}
        save_policy(
            folder / part,
            kept,
            method=method,
            acts="softmax",
            network=network,
            item_ids=item_ids,
            user_ids=user_ids,
            retrieval=retrieval,
        )
    texts = {name: [str(text) for text in values] for name, values in (item_texts or {}).items()}
    description = {
        "format": FORMAT,
        "ialp_rllib": ialp_rllib.__version__,
        "method": method,
        "seed": seed,
        "agent": to_dict(agent),
        "serving": dict(serving),
        "alpha_at_end": alpha_at_end,
        "item_texts": texts,
        "fingerprints": {"run": fingerprint},
        "level_range": level_range,
        "departures": dict(departures or {}),
    }
    write_json(folder / POLICY, description)
    stage.finish({"method": method, "seed": seed, "beta": beta is not None}, 0.0)


def read_artifact(folder: str | Path) -> Artifact:
    """An exported policy, after its files were compared with their hashes.

    Raises:
        InputError: no such folder, a file is missing or damaged, or it is of another version's format.
    """
    folder = Path(folder).expanduser().resolve()
    if require_intact(folder) is None or not (folder / POLICY).is_file():
        raise InputError(str(folder), "holds no exported policy", f"{_EXPECTED}: ialp export RUN --out {folder.name}")
    data = read_json(folder / POLICY, _FIELDS)
    where = str(folder / POLICY)
    if data["format"] != FORMAT:
        raise InputError(where, f"is of format {data['format']!r}", f"'format': {FORMAT}")
    saved = load_policy(folder / THETA)
    if not isinstance(getattr(saved.acting, "policy", None), Policy):
        raise InputError(str(folder / THETA / CONFIG), "is no policy of the package's networks", _EXPECTED)
    has_beta = (folder / BETA).is_dir()
    if has_beta:
        _require_same_shapes(folder)
    rewards = serving_settings(data["serving"], (), where).feedback
    low, high = data.get("level_range") or (rewards.reward_low, rewards.reward_high)
    return Artifact(
        folder=folder,
        method=str(data["method"]),
        seed=int(data["seed"]),
        agent=from_dict(AgentSettings, data["agent"], where, "agent."),
        serving=data["serving"],
        network=saved.network,
        item_ids=tuple(saved.item_ids.tolist()),
        user_ids=tuple(saved.user_ids.tolist()),
        item_texts=data["item_texts"],
        has_beta=has_beta,
        alpha_at_end=data["alpha_at_end"],
        fingerprint=str(data["fingerprints"].get("run", "")),
        level_range=(float(low), float(high)),
        retrieval=getattr(saved.acting, "retrieval", None),
        departures=data.get("departures") or {},
    )


def _require_same_shapes(folder: Path) -> None:
    """theta and beta must be weights of the same networks."""
    theta, beta = (read_weights(folder / part / WEIGHTS) for part in (THETA, BETA))
    for name in sorted(theta.keys() | beta.keys()):
        shapes = [list(part[name].shape) if name in part else None for part in (theta, beta)]
        if shapes[0] != shapes[1]:
            problem = f"{name!r} is of shape {shapes[1]}"
            raise InputError(str(folder / BETA / WEIGHTS), problem, f"{shapes[0]}, as in {THETA}")

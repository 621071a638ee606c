"""What a training run leaves to a service: pi_theta, pi_beta, and how they were trained (`ialp export`)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from ialp_rllib.agent.method import Method
from ialp_rllib.agent.methods import has_critic, method
from ialp_rllib.agent.policy.acting import GreedyQ
from ialp_rllib.agent.policy.retrieval import Retrieval
from ialp_rllib.agent.policy.saved import WEIGHTS, SavedPolicy, load_policy, read_weights
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.serving.artifact import Artifact, read_artifact, write_artifact
from ialp_rllib.serving.departures import departures
from ialp_rllib.settings import Settings, load, to_dict
from ialp_rllib.stages.critic import critic_folder
from ialp_rllib.stages.run import SETTINGS, RunFolder
from ialp_rllib.storage import require_intact
from ialp_rllib.users.worlds import require_truth

log = logging.getLogger(__name__)

BETAS = ("run", "theta")
"""What the learning policy of the service begins with: what the run learnt online, or a copy of pi_theta."""


def export_run(
    root: Path, out: Path, *, name: str = "aialp_ap", seed: int = 0, beta: str = "run", allow_plugins: bool = False
) -> Artifact:
    """Export the policy of one method and seed of a finished run.

    A method that mixes (``aialp_ap``) or fine-tunes (``aialp_ft``) leaves the policy that it started from as pi_theta
    and what it learnt as pi_beta. Of a method that learnt from random weights, or only offline, the policy itself is
    pi_theta. Settings of the run by which the service learns otherwise are warned of (:mod:`.departures`).

    Args:
        root: folder of the run.
        out: folder to write.
        name: id of the method.
        beta: ``run`` or ``theta``, see :data:`BETAS`.
        allow_plugins: whether to import the modules that the run's settings name.

    Raises:
        InputError: the run, the method or the seed is not finished, or its policy is none of the package's networks.
    """
    if not (root / SETTINGS).is_file():
        raise InputError(
            str(root), f"is no run (it has no {SETTINGS})", "the folder of a finished run, such as runs/sample"
        )
    settings = load(str(root / SETTINGS), allow_plugins=allow_plugins)
    run, spec = RunFolder(settings, root), method(name)
    job = root / "adapt" / name / f"seed-{seed}"
    manifest = require_intact(job) if job.is_dir() else None
    if manifest is None:
        problem = "was not finished" if job.is_dir() else "was not run"
        done = sorted(
            str(path.parent.relative_to(root / "adapt")) for path in root.glob("adapt/*/seed-*/manifest.json")
        )
        raise InputError(
            f"method {name!r}, seed {seed} of {root}", problem, f"one of {', '.join(done) or 'a finished run'}"
        )
    saved = load_policy(job)
    retrieval: Retrieval | None = getattr(saved.acting, "retrieval", None)
    theta, learnt = _policies(settings, spec, saved, root, job, seed)
    otherwise = departures(settings, spec, beta)
    write_artifact(
        out,
        method=name,
        seed=seed,
        agent=settings.agent,
        serving=_defaults(settings, run.catalogue),
        network=saved.network,
        theta=theta,
        beta=learnt if beta == "run" else None,
        item_ids=run.catalogue.item_ids.tolist(),
        user_ids=run.catalogue.user_ids.tolist() if saved.network.user_codes is not None else (),
        item_texts={key: values.tolist() for key, values in run.catalogue.item_texts.items()},
        alpha_at_end=float(saved.acting.state_dict()["alpha"]) if spec.mixture else None,
        fingerprint=manifest["fingerprint"],
        level_range=level_range(settings, run.catalogue),
        retrieval=None if retrieval is None else retrieval._replace(vectors=None, bias=None),
        departures=otherwise,
    )
    for setting, text in otherwise.items():
        log.warning("the service learns otherwise than the run: %s %s", setting, text)
    return read_artifact(out)


def _policies(
    settings: Settings, spec: Method, saved: SavedPolicy, root: Path, job: Path, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """Weights of pi_theta and, where there are other ones, of pi_beta."""
    weights = read_weights(job / WEIGHTS)
    # Q-learning has an actor, too, which it neither trains nor acts with.
    if isinstance(saved.acting, GreedyQ) or not any(key.startswith("policy.actor.") for key in weights):
        problem = f"a {spec.title} policy has no actor"
        raise InputError(str(job), problem, "a method with an actor, such as aialp_ap, aialp_ft, ialp or a2c")
    if spec.start and spec.learns:
        start = (
            critic_folder(root, spec.start, seed) if has_critic(settings, spec) else root / spec.start / f"seed-{seed}"
        )
        return read_weights(start / WEIGHTS), weights
    return weights, None


def _defaults(settings: Settings, catalogue: Catalogue) -> dict[str, Any]:
    """Defaults of the service's settings: the run's schedule of alpha, and its range of rewards."""
    low, high = reward_range(settings, catalogue)
    return {
        "alpha": to_dict(settings.adapt.alpha),
        "feedback": {"reward_low": low, "reward_high": high, "default_reward": min(max(0.0, low), high)},
    }


def reward_range(settings: Settings, catalogue: Catalogue) -> tuple[float, float]:
    """The lowest and the highest reward that the simulated users of a run can give."""
    low, high = level_range(settings, catalogue)
    return (min(low, -settings.users.dislikes.penalty) if settings.users.dislikes.penalty else low), high


def level_range(settings: Settings, catalogue: Catalogue) -> tuple[float, float]:
    """Rewards of the lowest and the highest level of the answers, those of the run's worlds (``World.reward_range``).

    What users are penalised with (``users.dislikes.penalty``) is below it, and of the lowest level.
    """
    if settings.users.world == "rating":
        truth = require_truth(catalogue)
        return float(truth.min()), float(truth.max())
    return 0.0, settings.users.sequence.reward_scale

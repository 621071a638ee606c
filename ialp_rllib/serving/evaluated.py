"""Exported policies and the published versions of a service as targets of off-policy evaluation, and their gate."""

from __future__ import annotations

import numpy as np

from ialp_rllib.agent.policy.networks import Policy
from ialp_rllib.agent.policy.saved import load_policy
from ialp_rllib.errors import InputError
from ialp_rllib.ope.evaluate import ended_sessions
from ialp_rllib.ope.gate import REFUSE, Verdict, judge_policy
from ialp_rllib.ope.log import read_log
from ialp_rllib.ope.sessions import sessions_of
from ialp_rllib.ope.targets import Exploration, Ids, Target, actor_of, actor_target, mixture_target
from ialp_rllib.serving.artifact import BETA, Artifact
from ialp_rllib.serving.folder import ServiceFolder
from ialp_rllib.serving.versions import Versions
from ialp_rllib.settings import OPESettings

LATEST = 20_000
"""Ended sessions of a service's log that its gate looks at, the latest ones: what decides should not take an hour."""

Pair = tuple[Target, Target | None]
"""A policy, and of a mixture its learning part alone."""


def artifact_target(artifact: Artifact, alpha: float | None = None, by: str = "") -> Pair:
    """An exported policy as it acts in service.

    Args:
        alpha: weight of its learning part; None: that of the first version that a service tries.
        by: how the parts are mixed, see :func:`ialp_rllib.ope.targets.mixture_target`; empty: as a service would.

    Raises:
        InputError: it acts on candidates, or ``alpha`` is given and it has no learning part.
    """
    settings = artifact.settings()
    if artifact.has_beta:
        beta = actor_of(load_policy(artifact.folder / BETA))
        assert beta is not None, "read_artifact checked that theta and beta have the same tensors"
        first = max(settings.alpha.start, settings.guard.least_alpha)
        weight = first if alpha is None else alpha
        return _mixed(artifact, str(artifact.folder), beta, weight, by or settings.alpha.by)
    if alpha is not None:
        problem = f"is given, but {artifact.folder} has no learning part"
        raise InputError("--alpha", problem, "an export with --beta run")
    return _mixed(artifact, str(artifact.folder), None, 0.0, "step")


def version_target(folder: ServiceFolder, number: int, alpha: float | None = None, by: str = "") -> Pair:
    """A published version of a service: pi_theta, that version's pi_beta, and its alpha. 0: pi_theta alone.

    Args:
        by: how the parts are mixed; empty: as the service does.

    Raises:
        InputError: there is no such version, it is damaged, or the policy acts on candidates.
    """
    version = Versions(folder.root).load(number, folder.artifact.network)
    name = f"{folder.root}, version {number}"
    weight = version.alpha if alpha is None else alpha
    return _mixed(folder.artifact, name, version.beta, weight, by or folder.settings.alpha.by)


def _mixed(artifact: Artifact, name: str, beta: Policy | None, alpha: float, by: str) -> Pair:
    if artifact.retrieval is not None:
        problem = "acts on candidates (agent.candidates), of which the evaluation knows saved policies alone"
        raise InputError(str(artifact.folder), problem, "the policy of the run: RUN/adapt/METHOD/seed-N")
    explores = Exploration(artifact.agent.exploration, artifact.agent.epsilon)
    items, users = (np.array(part, object) for part in (artifact.item_ids, artifact.user_ids))
    ids, theta = Ids(artifact.network, items, users), artifact.theta()
    if beta is None:
        return actor_target(name, ids, theta, explores), None
    return mixture_target(name, ids, theta, beta, alpha, by, explores)


def version_verdict(
    folder: ServiceFolder, number: int, against: int, settings: OPESettings, fqe: bool = True
) -> Verdict:
    """What the gate says of a version in the place of another one, by the latest sessions of the service's log.

    Args:
        number, against: the version, and the one that it would replace.
        settings: of the evaluation.
        fqe: whether to fit critics.
    """
    try:
        everything = ended_sessions(sessions_of(read_log(folder.sealed)))
        sessions = everything.only(np.arange(len(everything)) >= len(everything) - LATEST)
        target, part = version_target(folder, number)
        other, _ = version_target(folder, against)
        return judge_policy(sessions, target, settings, part=part, other=other, fqe=fqe).verdict
    except InputError as error:
        return Verdict(REFUSE, (f"{error.where}: {error.problem}",))

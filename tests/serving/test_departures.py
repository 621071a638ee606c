"""Every setting of ``agent`` and ``adapt`` is carried into a service, without meaning there, or warned of at export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ialp_rllib.agent.methods import method
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.agent.policy.saved import read_weights, save_policy
from ialp_rllib.agent.rllib.alone import mixture_config
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.serving.artifact import BETA, THETA, read_artifact, write_artifact
from ialp_rllib.serving.departures import departures
from ialp_rllib.serving.export import _defaults, export_run
from ialp_rllib.settings import AgentSettings, Settings, load
from ialp_rllib.settings.describe import SettingInfo, describe
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.critic import critic_folder
from ialp_rllib.stages.imitating import network_of, save_networks
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from tests.serving.small import ITEMS, NETWORK, SERVING, weights
from tests.stages.test_every_setting import changed, other_value

INFOS = [info for info in describe() if info.name.split(".")[0] in ("agent", "adapt")]
WITHOUT_MEANING = {
    "adapt.methods": "`--method` names the one that is exported",
    "adapt.plugins": "they register methods; the service has one learner",
    "adapt.budgets": "what a comparison counts",
    "adapt.world": "the users of a service are its own",
    "adapt.env_steps": "a service has no end",
    "adapt.epoch_steps": "of the result table",
    "adapt.beta_init": "`--beta` says what pi_beta begins with",
    "adapt.checkpoint_every": "a service has `checkpoint_seconds`",
    "adapt.log_every": "of the learning curve",
    "adapt.dqn.double": "Q-learning has no actor to export",
    "adapt.dqn.epsilon_start": "Q-learning has no actor to export",
    "adapt.dqn.epsilon_end": "Q-learning has no actor to export",
    "adapt.dqn.epsilon_steps": "Q-learning has no actor to export",
    "adapt.pg.baseline": "of REINFORCE, of which adapt.methods is warned",
}
IN_THE_WEIGHTS = {"adapt.critic", "adapt.critic_steps"}
WARNED_OF: dict[str, tuple[str, str, dict[str, Any]]] = {
    "adapt.rollout_steps": ("aialp_ap", "theta", {"adapt.rollout_steps": 64}),
    "adapt.offline_share": ("aialp_ap", "run", {"adapt.offline_share": 0.5}),
    "adapt.offline_from": ("warm_ap", "run", {"adapt.offline_share": 0.5, "adapt.offline_from": "log"}),
    "agent.calibration": ("warm_ap", "run", {"adapt.offline_share": 0.5, "agent.calibration": 1.0}),
    "agent.entropy_steps": ("aialp_ap", "run", {"agent.entropy_steps": 1000}),
    "agent.anchor_steps": ("aialp_ft", "run", {"agent.anchor_steps": 1000}),
    "agent.anchor": ("a2c", "run", {"agent.anchor": 0.1}),
    "adapt.methods": ("pg", "run", {}),
}
"""Setting -> method, ``--beta`` and values with which its export warns of it."""


def with_values(settings: Settings, values: dict[str, Any]) -> Settings:
    for name, value in values.items():
        settings = changed(settings, name, value)
    return settings


def value_of(settings: Settings, name: str) -> Any:
    found: Any = settings
    for part in name.split("."):
        found = getattr(found, part)
    return found


def carries(info: SettingInfo, folder: Path) -> bool:
    """Whether another value of a setting is what the service's learner is made with."""
    settings = changed(Settings(), info.name, other_value(info, value_of(Settings(), info.name)))
    options = {"method": "aialp_ap", "seed": 0, "network": NETWORK, "theta": weights(1), "item_ids": ITEMS}
    serving = {**SERVING, "alpha": _defaults(settings, SimpleNamespace())["alpha"]}
    write_artifact(folder, agent=settings.agent, serving=serving, **options)
    artifact = read_artifact(folder)
    files = [str(artifact.weights(part)) for part in (THETA, BETA)]
    config = mixture_config(artifact.agent, artifact.settings().alpha, artifact.network, *files)
    learner = dataclasses.replace(settings, agent=config.agent)
    learner = dataclasses.replace(learner, adapt=dataclasses.replace(Settings().adapt, alpha=config.options["alpha"]))
    return bool(value_of(learner, info.name) == value_of(settings, info.name) != value_of(Settings(), info.name))


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_a_setting_is_carried_without_meaning_or_warned_of(info: SettingInfo, tmp_path: Path) -> None:
    if info.name in IN_THE_WEIGHTS or info.name in WITHOUT_MEANING:
        assert not info.name.startswith(("agent.", "adapt.alpha."))
        return
    if info.name.startswith(("agent.", "adapt.alpha.")):
        assert carries(info, tmp_path / "policy")
    else:
        assert info.name in WARNED_OF, "decide: carried by `ialp export`, without meaning in a service, or warned of"


@pytest.mark.parametrize("name", WARNED_OF)
def test_what_the_service_does_not_learn_by_is_named(name: str) -> None:
    by, beta, values = WARNED_OF[name]
    found = departures(with_values(Settings(), values), method(by), beta)
    assert name in found and len(found[name]) > 20
    other = {key: value for key, value in values.items() if key != name}
    if other != values:
        assert name not in departures(with_values(Settings(), other), method(by), beta)


def test_nothing_is_warned_of_where_the_service_learns_on_as_the_run_did() -> None:
    names = {info.name for info in describe()}
    assert names >= {*WARNED_OF, *WITHOUT_MEANING, *IN_THE_WEIGHTS}
    for by in ("aialp_ap", "aialp_ft", "warm_ap", "ialp", "a2c"):
        assert departures(Settings(), method(by), "run") == {}
    values = {"adapt.rollout_steps": 64, "agent.entropy_steps": 1000, "agent.anchor_steps": 1000}
    assert departures(with_values(Settings(), values), method("a2c"), "theta") == {}, "what a2c does not read"
    assert list(departures(with_values(Settings(), values), method("ialp"), "run")) == [], "it has not been online"


CHANGES = (
    *("agent.dim=8", "adapt.critic=train_world", "adapt.offline_share=0.5", "adapt.critic_steps=640"),
    *("adapt.methods=[warm, warm_ap, dqn]", "adapt.rollout_steps=64"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of the sample up to its catalogue, with policies of random weights as those that it trained."""
    folder = RunFolder(load("sample", CHANGES), tmp_path_factory.mktemp("left") / "run")
    folder.write_settings()
    run_all(folder, Progress(), ["prepare"])
    network = network_of(folder.settings, folder.catalogue)
    start, learnt = ActorCritic(network), ActorCritic(network)
    critic = critic_folder(folder.root, "warm", 0)
    critic.mkdir(parents=True)
    save_networks(critic, start, network, folder.catalogue, "warm")
    mixed = learnt.state_dict() | {f"theta.{name}": value for name, value in start.policy.state_dict().items()}
    save_job(folder, "warm_ap", network, "mixture", mixed | {"alpha": torch.tensor(0.7)})
    save_job(folder, "dqn", network, "q", learnt.state_dict() | {"epsilon": torch.tensor(0.1)})
    return folder


def save_job(run: RunFolder, name: str, network: NetworkConfig, acts: str, weights: dict[str, torch.Tensor]) -> None:
    stage = job_stage(run, name, 0)
    ids = {"item_ids": run.catalogue.item_ids, "user_ids": run.catalogue.user_ids}
    save_policy(stage.open(), weights, method=name, acts=acts, network=network, **ids)
    stage.finish({}, 0.0)


def test_the_critic_of_a_start_is_carried_and_its_transitions_are_warned_of(
    run: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = export_run(run.root, tmp_path / "policy", name="warm_ap", beta="theta")
    start = read_weights(critic_folder(run.root, "warm", 0) / "policy.safetensors")
    exported = read_weights(artifact.weights(BETA))
    assert any(name.startswith("critic.") for name in exported)
    assert all(torch.equal(exported[name], start[name]) for name in exported)
    assert list(artifact.departures) == ["adapt.rollout_steps", "adapt.offline_share"]
    assert read_artifact(artifact.folder).departures == artifact.departures
    assert "the service learns otherwise than the run: adapt.offline_share is 0.5 in the run" in caplog.text
    assert list(export_run(run.root, tmp_path / "learnt", name="warm_ap").departures) == ["adapt.offline_share"]


def test_an_actor_that_was_not_trained_is_not_exported(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a DQN policy has no actor"):
        export_run(run.root, tmp_path / "policy", name="dqn")
    assert not (tmp_path / "policy").exists()


def test_the_learner_of_the_service_has_all_settings_of_the_agent() -> None:
    assert {info.name for info in INFOS if info.name.startswith("agent.")} == {
        f"agent.{info.name}" for info in describe(AgentSettings)
    }

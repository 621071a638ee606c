"""``ialp evaluate`` from a log to a verdict, a page and an exit status."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from ialp_rllib.agent.policy.saved import read_weights
from ialp_rllib.cli.evaluate import _target
from ialp_rllib.cli.main import app
from ialp_rllib.errors import InputError
from ialp_rllib.serving.artifact import read_artifact, write_artifact
from ialp_rllib.serving.folder import ServiceFolder, create_service
from ialp_rllib.serving.policy import PROMOTED, Served, ServingPolicy, load_version
from ialp_rllib.serving.versions import Current, Versions
from ialp_rllib.settings import AgentSettings
from tests.ope import world
from tests.serving.small import probabilities

FAST = [
    f"--set=ope.fqe.{value}" for value in ("folds=2", "epochs=15", "updates=450", "batch=128", "learning_rate=0.005")
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A log and the policy that is like the one which wrote it."""
    folder = tmp_path_factory.mktemp("evaluate")
    pq.write_table(world.log(0.2, 800), folder / "log.parquet")
    return str(folder / "log.parquet"), str(world.save_mixture(folder / "policy", 0.3))


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.stdout.split())


def test_a_policy_passes_with_a_page(inputs: tuple[str, str], tmp_path: Path) -> None:
    log, policy = inputs
    code, text = run(log, "--policy", policy, "--out", str(tmp_path), *FAST)
    assert code == 0 and "pass" in text and "effective sample size" in text and "DR" in text, text
    data = json.loads((tmp_path / "evaluation.json").read_text())
    assert data["verdict"] == "pass" and data["sessions"] == 800 and data["level"]["DR"]["low"] > 0
    page = (tmp_path / "index.html").read_text()
    assert "<h1>Pass</h1>" in page and page.count("<svg") == 3 and "http" not in page.replace("http-equiv", "")
    assert "Where the hand-over leads" in page


def test_what_cannot_be_told_is_refused(inputs: tuple[str, str], tmp_path: Path) -> None:
    log, policy = inputs
    words = (log, "--policy", policy, "--out", str(tmp_path), "--no-fqe")
    code, text = run(*words, "--set", "ope.gate.min_sessions=2000")
    assert code == 4 and "refuse" in text and "800 sessions ended, fewer than 2,000" in text
    assert "DR" not in json.loads((tmp_path / "evaluation.json").read_text())["level"]


def test_another_policy_and_another_alpha(inputs: tuple[str, str], tmp_path: Path) -> None:
    log, policy = inputs
    words = (log, "--policy", policy, "--against", policy, "--alpha", "0.02", "--no-fqe", "--out", str(tmp_path))
    code, text = run(*words)
    assert code == 3 and "hold" in text and f"difference to {policy[:5]}" in text
    other = str(world.save_mixture(tmp_path / "other", 0.98))
    settings = ["--set", "ope.gate.min_ess=600"]
    code, text = run(log, "--policy", policy, "--against", other, "--no-fqe", "--out", str(tmp_path), *settings)
    assert code == 4 and "of the policy that it would replace, the effective sample size is" in text


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--set", "agent.gamma=0.5"], "none of an evaluation's settings"),
        (["--column", "session"], "is not NAME=YOURS"),
        (["--by", "day"], "is 'day'"),
        (["--column", "reward=clicks"], "is missing"),
    ],
)
def test_wrong_options_are_named(words: list[str], problem: str, inputs: tuple[str, str]) -> None:
    with pytest.raises(InputError, match=problem):
        run(inputs[0], "--policy", inputs[1], *words)


def test_an_exported_policy_is_the_mixture_that_goes_out(inputs: tuple[str, str], tmp_path: Path) -> None:
    theta, beta = (
        {f"policy.{name}": tensor for name, tensor in actor.state_dict().items()} for actor in world.actors()
    )
    parts = {"theta": theta, "beta": beta, "network": world.NETWORK, "item_ids": world.IDS.items.tolist()}
    agent = AgentSettings(dim=8, history=4, mask_recent=2)
    write_artifact(tmp_path / "export", method="aialp_ap", seed=0, agent=agent, serving={}, **parts)
    words = (inputs[0], "--policy", str(tmp_path / "export"), "--no-fqe", "--out", str(tmp_path / "out"))
    assert run(*words, "--alpha", "0.2")[0] == 0
    data = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert abs(data["difference"]["PDIS"]["value"]) < 1e-4  # it is the policy that wrote the log
    run(*words)
    data = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert data["difference"]["PDIS"]["value"] < 0  # its own alpha is that of the first version, 0.1


@pytest.mark.parametrize("has_beta", [True, False])
@pytest.mark.parametrize("mode", ["categorical", "greedy", "epsilon_greedy"])
def test_an_exported_policy_is_evaluated_as_it_acts(mode: str, has_beta: bool, tmp_path: Path) -> None:
    """To the probabilities that the service would act with, at the alpha of its first version."""
    theta, beta = (
        {f"policy.{name}": tensor for name, tensor in actor.state_dict().items()} for actor in world.actors()
    )
    agent = AgentSettings(dim=8, history=4, mask_recent=2, exploration=mode, epsilon=0.2)
    parts = {"network": world.NETWORK, "item_ids": world.IDS.items.tolist(), "agent": agent, "seed": 0}
    serving = {"alpha": {"start": 0.02}, "guard": {"least_alpha": 0.3}}
    weights = {"theta": theta, "beta": beta if has_beta else None}
    write_artifact(tmp_path, method="aialp_ap", serving=serving, **weights, **parts)
    target, _ = _target(tmp_path)
    artifact, seen = read_artifact(tmp_path), np.array([[0, 12, 12, 3, 5], [0, 12, 12, 12, 12]], np.int32)
    served = ServingPolicy(artifact.theta(), agent)
    first = load_version(1, 0.3, read_weights(artifact.weights("beta")), world.NETWORK)
    served.swap(Served(first))
    expected = torch.from_numpy(probabilities(served, seen, np.full(2, PROMOTED)))
    found = target.components[0][1].probabilities(torch.from_numpy(seen).long())
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> ServiceFolder:
    """A service with two versions that are alike and one with another alpha; its log is by the first two."""
    folder = tmp_path_factory.mktemp("service")
    theta, beta = (
        {f"policy.{name}": tensor for name, tensor in actor.state_dict().items()} for actor in world.actors()
    )
    agent = AgentSettings(dim=8, history=4, mask_recent=2)
    parts = {"network": world.NETWORK, "item_ids": world.IDS.items.tolist(), "agent": agent, "seed": 0}
    write_artifact(folder / "policy", method="aialp_ap", serving={}, theta=theta, **parts)
    made = create_service(folder / "service", read_artifact(folder / "policy"), [])
    for alpha in (0.2, 0.2, 0.02):
        Versions(made.root).publish(beta, alpha, {})
    Versions(made.root).serve(Current(1, 2, 0))
    return made


def test_a_published_version_is_evaluated_as_it_is_served(service: ServiceFolder) -> None:
    """Its own weights and its own alpha; without a number the one that is tried."""
    seen = np.array([[0, 12, 12, 3, 5], [0, 12, 12, 12, 12]], np.int32)
    policy = ServingPolicy(service.artifact.theta(), service.artifact.agent)
    for number in (0, 2, 3, None):
        version = Versions(service.root).load(2 if number is None else number, world.NETWORK)
        policy.swap(Served(version))
        expected = torch.from_numpy(probabilities(policy, seen, np.full(2, PROMOTED)))
        target, _ = _target(service.root, number)
        found = target.components[0][1].probabilities(torch.from_numpy(seen).long())
        torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)
        assert target.name == f"{service.root}, version {version.number}"
    with pytest.raises(InputError, match="was not published"):
        _target(service.root, 9)
    with pytest.raises(InputError, match="is no service"):
        _target(service.artifact.folder, 1)


def test_a_version_is_promoted_where_the_gate_lets_it_pass(service: ServiceFolder, inputs: tuple[str, str]) -> None:
    service.sealed.mkdir(parents=True)
    (service.sealed / "part-000001.parquet").write_bytes(Path(inputs[0]).read_bytes())
    root = str(service.root)
    code, text = run(inputs[0], "--policy", root, "--against-version", "1", "--no-fqe", "--out", f"{root}/out")
    assert code == 0 and f"difference to {root[:5]}" in text
    held = CliRunner().invoke(app, ["promote", root, "--version", "3", "--no-fqe"])
    assert held.exit_code in (3, 4) and Versions(service.root).current().promoted == 1
    done = CliRunner().invoke(app, ["promote", root, "--no-fqe"])
    assert done.exit_code == 0 and "pass" in done.output and Versions(service.root).current().promoted == 2

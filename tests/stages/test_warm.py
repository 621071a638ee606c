"""Stage ``warm``: what it may read, and what a seed leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.imitation import Imitation, Lesson
from ialp_rllib.agent.policy.networks import ActorCritic
from ialp_rllib.agent.policy.saved import load_policy
from ialp_rllib.agent.policy.tempering import divide_logits
from ialp_rllib.agent.rllib.modules import fill, load_weights
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import read_curves
from ialp_rllib.settings import load
from ialp_rllib.stages import warm
from ialp_rllib.stages.imitating import network_of
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.users.sequence import make_model, save_sequence

SMALL = (
    *("users.sequence.dim=8", "agent.dim=8", "warm.epochs=2", "warm.episodes=40"),
    *("adapt.methods=[warm]", "catalogue.log_users=100", "warm.temperatures=[1, 0.5]"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The sample, with simulated validation users who answer at random."""
    folder = RunFolder(load("sample", SMALL), tmp_path_factory.mktemp("warm"))
    run_all(folder, Progress(), ["prepare"])
    users = folder.root / "users" / "valid"
    users.mkdir(parents=True)
    settings = folder.settings.users.sequence
    save_sequence(make_model(folder.catalogue, settings), settings, users)
    return folder


def test_a_seed_leaves_a_policy_its_curve_and_how_it_was_chosen(run: RunFolder) -> None:
    stage = warm.seed_stage(run, run.root / "warm", 3)
    assert warm.train_job(run.settings, str(run.root), stage, 3) == []
    manifest = stage.manifest()
    assert stage.up_to_date() and manifest is not None
    facts = manifest["facts"]
    assert [row["epoch"] for row in facts["curve"]] == [1, 2] and facts["best_epoch"] in (1, 2)
    returns = {row["temperature"]: row["return"] for row in facts["temperatures"]}
    assert set(returns) == {1.0, 0.5} and facts["temperature"] == max(returns, key=returns.__getitem__)
    curve = read_curves(stage.folder / "curves.parquet")
    assert curve["updates"].to_pylist() == [row["updates"] for row in facts["curve"]]
    assert sorted(path.name for path in stage.folder.iterdir() if path.is_dir()) == []
    weights = str(stage.folder / "policy.safetensors")
    fill(ActorCritic(network_of(run.settings, run.catalogue)), load_weights(weights), weights)  # as warm_ft does
    policy = load_policy(stage.folder)
    assert len(policy.recommend([run.catalogue.item_ids[0]], 5)) == 5
    network = network_of(run.settings, run.catalogue)
    lesson = Lesson("log", *warm.next_items(run.catalogue, network))
    again = Imitation(network, [lesson], run.settings.warm, run.settings.agent, 3)
    while not again.finished:
        again.run_epoch()
    expected = again.result()
    divide_logits(expected.policy, facts["temperature"])
    saved = policy.acting.state_dict()
    assert all(torch.equal(saved[f"policy.{name}"], tensor) for name, tensor in expected.policy.state_dict().items())


def rows(catalogue: Catalogue, settings: tuple[str, ...] = SMALL) -> tuple[torch.Tensor, torch.Tensor]:
    train, held_out = warm.next_items(catalogue, network_of(load("sample", settings), catalogue))
    return torch.cat([train.observation, train.item[:, None]], 1), torch.cat(
        [held_out.observation, held_out.item[:, None]], 1
    )


def test_it_reads_neither_test_users_nor_hidden_logs(run: RunFolder) -> None:
    whole = run.catalogue
    hidden = whole.train_users[20:]
    part = replace(whole, hidden_users=hidden)
    unseen = np.isin(whole.user, np.concatenate([hidden, whole.test_users]))
    shuffled = np.where(unseen, (whole.item + 7) % whole.n_items, whole.item).astype(whole.item.dtype)
    for before, after in zip(rows(part), rows(replace(part, item=shuffled)), strict=True):
        assert torch.equal(before, after)
    assert 0 < len(rows(part)[0]) < len(rows(whole)[0]) and torch.equal(rows(part)[1], rows(whole)[1])


def test_a_log_without_rows_is_refused(run: RunFolder) -> None:
    nothing = replace(run.catalogue, hidden_users=run.catalogue.train_users)
    with pytest.raises(InputError, match=r"catalogue\.log_users: leaves no next item to learn from .*seen: 0"):
        rows(nothing)
    with pytest.raises(InputError, match=r"catalogue\.valid_share: leaves no next item of the 0 validation users"):
        rows(replace(run.catalogue, valid_users=run.catalogue.valid_users[:0]))


def test_it_learns_next_items_only() -> None:
    run = RunFolder(load("coat"), Path("x"))
    with pytest.raises(InputError, match="stage warm: in a rating world"):
        warm.run(run, run.root / "warm", Progress())

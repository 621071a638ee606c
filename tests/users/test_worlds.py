"""The three worlds, a test world of another family, and a taste that has moved on since the log."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ialp_rllib.errors import InputError
from ialp_rllib.settings import UsersSettings
from ialp_rllib.settings.users import SequenceModelSettings
from ialp_rllib.users.fit import fit_users
from ialp_rllib.users.rewards import SequenceReward
from ialp_rllib.users.sequence import GRUModel, SequenceModel, load_sequence, make_model, score_all
from ialp_rllib.users.tastes import TasteShiftedReward
from ialp_rllib.users.worlds import make_world
from tests.users import small

SMALL = SequenceModelSettings(dim=8, window=5, epochs=2)
KINDS = {"kind": [f"k{n % 4}" for n in range(small.ITEMS)]}
CATALOGUE = dataclasses.replace(small.make_catalogue(KINDS), valid_users=np.arange(2, 4))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[UsersSettings, Path, dict]:
    settings, folder = UsersSettings(sequence=SMALL, horizon=8, test_model="gru"), tmp_path_factory.mktemp("users")
    return settings, folder, fit_users(CATALOGUE, settings, folder)


def test_each_world_has_its_users_and_its_model(fitted: tuple[UsersSettings, Path, dict]) -> None:
    settings, folder, facts = fitted
    users = {split: set(make_world(CATALOGUE, settings, split, folder).users) for split in ("train", "valid", "test")}
    assert users == {"train": set(range(4, 10)), "valid": {2, 3}, "test": {0, 1}}
    models = {split: load_sequence(folder / split, CATALOGUE) for split in users}
    assert [type(model) for model in models.values()] == [SequenceModel, SequenceModel, GRUModel]
    assert not torch.equal(models["train"].item.weight, models["valid"].item.weight)
    assert {split: facts[split]["next_items"] for split in users} == {"train": 6, "valid": 8, "test": 10}
    assert {f"{split}_random_policy" for split in users} <= facts.keys()
    with pytest.raises(InputError, match="train, valid or test"):
        make_world(CATALOGUE, settings, "all", folder)
    online = make_world(CATALOGUE, settings, "test", folder, persons="train")
    assert set(online.users) == users["train"]
    assert isinstance(online.reward, SequenceReward) and isinstance(online.reward.model, GRUModel)


def test_two_users_have_no_validation_world(tmp_path: Path) -> None:
    facts = fit_users(small.make_catalogue(KINDS), UsersSettings(sequence=SMALL, horizon=8), tmp_path)
    assert "valid" not in facts and not (tmp_path / "valid").exists()


def test_the_gru_reads_the_session_in_order_and_ignores_padding() -> None:
    torch.manual_seed(0)
    model = make_model(CATALOGUE, SMALL, "gru").eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    pad, items, table = CATALOGUE.pad, torch.tensor([[7, 8, 9]]), model.table()
    with torch.no_grad():
        short = model(torch.tensor([[3, 4]]), items)
        assert torch.allclose(model(torch.tensor([[pad, pad, pad, 3, 4]]), items), short, atol=1e-5)
        assert not torch.allclose(model(torch.tensor([[4, 3]]), items), short, atol=1e-3)
        assert torch.isfinite(model(torch.tensor([[pad, pad]]), items)).all()
        batch = torch.tensor([[pad, 3, 4], [1, 3, 4], [pad, pad, 5]])
        alone = torch.cat([model(row[None], items) for row in batch])
        assert torch.allclose(score_all(model, batch, table)[:, 7:10], alone, atol=1e-5)


def test_a_damaged_architecture_is_named(fitted: tuple[UsersSettings, Path, dict], tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((fitted[1] / "test" / name).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architecture": "LSTM"}))
    with pytest.raises(InputError, match="names the architecture 'LSTM'"):
        load_sequence(tmp_path, CATALOGUE)


def test_only_the_test_world_has_moved_on(fitted: tuple[UsersSettings, Path, dict]) -> None:
    settings, folder, _ = fitted
    moved = dataclasses.replace(settings, test_shift=2.0)
    assert all(make_world(CATALOGUE, moved, split, folder).make_reward is None for split in ("train", "valid"))
    world = make_world(CATALOGUE, moved, "test", folder)
    assert world.make_reward is not None and isinstance(world.reward, SequenceReward)
    reward, items = world.make_reward(small.ITEMS), np.arange(small.ITEMS)
    assert isinstance(reward, TasteShiftedReward)
    session, user = np.full((small.ITEMS, 5), CATALOGUE.pad), np.zeros(small.ITEMS, np.int64)
    before, after = (np.asarray(kind(user, session, items), float) / 5 for kind in (world.reward, reward))
    shift = np.log(after / (1 - after)) - np.log(before / (1 - before))
    assert shift.mean() == pytest.approx(0, abs=1e-3) and shift.std() == pytest.approx(2, abs=1e-3)
    assert all(np.ptp(shift[np.arange(small.ITEMS) % 4 == kind]) < 1e-3 for kind in range(4))  # by attribute
    again = np.asarray(world.make_reward(small.ITEMS)(user, session, items), float) / 5
    np.testing.assert_array_equal(again, after)


def test_a_rating_world_has_neither() -> None:
    for name, value in (("test_model", "gru"), ("test_shift", 1.0)):
        with pytest.raises(InputError, match=rf"users\.{name}: is {value}"):
            UsersSettings(world="rating", **{name: value})

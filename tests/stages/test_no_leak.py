"""Nothing that is trained or chosen depends on the test users' log; of the validation users' log only choices do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.catalogue.split import split_users
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.distil import session_starts
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.profiles import Profiles
from ialp_rllib.judge.tiny.log import TrainLog
from ialp_rllib.judge.tiny.tokenizer import catalogue_tokenizer
from ialp_rllib.judge.tuning.data import tuning_data
from ialp_rllib.progress import Progress
from ialp_rllib.settings import (
    CatalogueSettings,
    DeepFMSettings,
    DistanceSettings,
    DistilSettings,
    ProfileSettings,
    UsersSettings,
    load,
)
from ialp_rllib.settings.overrides import to_overrides
from ialp_rllib.settings.users import SequenceModelSettings
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import file_records
from ialp_rllib.users.fit import fit_users
from ialp_rllib.users.sequence import load_sequence
from ialp_rllib.users.worlds import make_world
from tests.judge.tuning.small import small_judge
from tests.judge.tuning.test_data import tokens_of

USERS, ITEMS, EACH = 60, 40, 6


def made_up() -> Catalogue:
    """Sequences with ratings, and true ratings: for worlds of both kinds."""
    rng = np.random.default_rng(0)
    item = np.concatenate([rng.permutation(ITEMS)[:EACH] for _ in range(USERS)])
    split = split_users(USERS, CatalogueSettings())
    return Catalogue(
        item_ids=np.array([f"i{n}" for n in range(ITEMS)], object),
        item_texts={"genre": np.array([f"g{int(n**0.5)}" for n in range(ITEMS)], object)},  # sizes that differ
        user_ids=np.array([f"u{n}" for n in range(USERS)], object),
        user_texts={"age": np.array([f"a{n % 3}" for n in range(USERS)], object)},
        user=np.repeat(np.arange(USERS), EACH).astype(np.int32),
        item=item.astype(np.int32),
        rating=rng.integers(1, 6, USERS * EACH).astype(np.float32),
        split=np.tile(np.array([0, 0, 0, 0, 1, 0], np.int8), USERS),
        test_users=split.test,
        valid_users=split.valid,
        truth=rng.integers(1, 6, (USERS, ITEMS)).astype(np.float32),
    )


def shuffled(catalogue: Catalogue, users: np.ndarray) -> Catalogue:
    """Items, ratings and true ratings of some users, in another order."""
    assert catalogue.truth is not None
    rng, rows = np.random.default_rng(1), np.nonzero(np.isin(catalogue.user, users))[0]
    item, rating, truth = catalogue.item.copy(), catalogue.rating.copy(), catalogue.truth.copy()
    item[rows], rating[rows] = rng.permutation(item[rows]), rng.permutation(rating[rows])
    truth[users] = rng.permutation(truth[users].ravel()).reshape(len(users), -1)
    return dataclasses.replace(catalogue, item=item, rating=rating, truth=truth)


def learnt_from(catalogue: Catalogue) -> dict[str, Any]:
    """What agent, judge, tuning and distillation read of a catalogue."""
    judge, view, log = small_judge(interactions=30), catalogue.visible(), TrainLog(catalogue)
    tokens = tokens_of(judge, catalogue)
    shown = dataclasses.replace(judge, min_rating=3.0, profile=ProfileSettings(shows="ratings"))
    profiles = [Profiles(one, shown, catalogue.item_ids).texts(np.arange(USERS), USERS) for one in (catalogue, view)]
    assert profiles[0] == profiles[1] and all(text.startswith("age: a") for text in profiles[0])
    tokenizer = catalogue_tokenizer(view, ("genre",), [PromptBuilder(view, judge)])
    return {
        "view": (view.user, view.item, view.rating, view.split, view.train_users),
        "popularity": (popularity(catalogue),),
        "tiny log": (log.user, log.item, log.first),
        "tiny tokenizer": tuple(np.array(sorted(tokenizer.get_vocab().items()))),
        "profiles": (np.array(profiles[0]),),
        "tuning": (np.array(tuning_data(judge, catalogue, tokens).fingerprint),),
        "starts": session_starts(catalogue, DistilSettings()),
    }


def sequence_users(catalogue: Catalogue, folder: Path) -> dict[str, Any]:
    """Weights of the user models of a sequence world."""
    model = SequenceModelSettings(dim=8, window=4, epochs=2)
    fit_users(catalogue, UsersSettings(sequence=model, horizon=4), folder)
    splits = [split for split in ("train", "valid", "test") if (folder / split).is_dir()]
    return {s: tuple(v.numpy() for v in load_sequence(folder / s, catalogue).state_dict().values()) for s in splits}


def rating_users(catalogue: Catalogue, folder: Path) -> dict[str, Any]:
    """Rewards of the users of a rating world, and the items that they find too similar."""
    model, distance = DeepFMSettings(hidden=(8,), epochs=2), DistanceSettings(distance=15.5)
    settings = UsersSettings(world="rating", horizon=4, deepfm=model, distance=distance)
    fit_users(catalogue, settings, folder)
    worlds = {split: make_world(catalogue, settings, split, folder) for split in ("train", "valid", "test")}
    return {
        split: (world.reward.ratings[world.users], world.make_leaving(1)._close)  # type: ignore[attr-defined]
        for split, world in worlds.items()
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Names of what is equal, bit for bit."""
    pairs = {name: zip(one[name], other[name], strict=True) for name in one}
    return {
        name
        for name, parts in pairs.items()
        if all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in parts)
    }


@pytest.mark.parametrize("group", ["test_users", "valid_users"])
def test_what_is_learnt_from_is_that_of_train_users(group: str) -> None:
    catalogue = made_up()
    plain = learnt_from(catalogue)
    assert same(plain, learnt_from(shuffled(catalogue, getattr(catalogue, group)))) == set(plain)
    changed = same(plain, learnt_from(shuffled(catalogue, catalogue.train_users)))
    assert changed == {"tiny tokenizer"} or not changed  # one genre per item: its tokens are the same


@pytest.mark.parametrize("fit", [sequence_users, rating_users])
def test_only_the_test_world_knows_test_users(fit: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    catalogue, known = made_up(), {}
    for name in ("", "test_users", "valid_users"):
        (tmp_path / f"of {name}").mkdir()
        changed = shuffled(catalogue, getattr(catalogue, name)) if name else catalogue
        torch.manual_seed(0)
        known[name] = fit(changed, tmp_path / f"of {name}")
    assert same(known[""], known["test_users"]) == {"train", "valid"}
    assert same(known[""], known["valid_users"]) == {"train"}


def test_audit_prompts_are_those_of_validation_users() -> None:
    from ialp_rllib.judge.audit.audit import _draw

    catalogue, judge = made_up(), dataclasses.replace(small_judge(), audit_prompts=40)

    def drawn(changed: Catalogue) -> dict[str, Any]:
        log = changed.of_users(np.union1d(changed.log_users, changed.valid_users))
        return {str(popular): tuple(_draw(judge, log, 40, popular)) for popular in (False, True)}

    plain = drawn(catalogue)
    assert set(plain["True"][3]) <= set(catalogue.valid_users)
    assert same(plain, drawn(shuffled(catalogue, catalogue.test_users))) == {"False", "True"}
    assert not same(plain, drawn(shuffled(catalogue, catalogue.valid_users)))


def test_without_a_log_sessions_start_anywhere_and_learners_say_what_they_miss() -> None:
    catalogue = made_up()
    bare = dataclasses.replace(catalogue, hidden_users=catalogue.train_users)
    users, items = session_starts(bare, DistilSettings(sessions=400))
    assert set(users) == set(catalogue.train_users)
    assert set(items) == set(range(ITEMS))
    uniform = DistilSettings(sessions=400, starts="uniform")
    for view in (bare, catalogue, catalogue.visible()):  # the same prompts, however much of the log is visible
        assert session_starts(view, uniform)[1].tolist() == items.tolist()
    judge = small_judge(interactions=30)
    with pytest.raises(InputError, match=r"catalogue\.log_users: .* and tuning the judge needs some"):
        tuning_data(judge, bare, tokens_of(judge, bare))
    with pytest.raises(InputError, match=r"catalogue\.log_users: .* and a tiny judge needs some"):
        TrainLog(bare)


def test_the_users_are_not_fitted_again_for_another_view_of_the_log(tmp_path: Path) -> None:
    plain = RunFolder(load("sample"), tmp_path).fingerprints
    for name, value in (("log_users", 30), ("cold_items", 0.3)):
        other = RunFolder(load("sample", to_overrides({f"catalogue.{name}": value})), tmp_path).fingerprints
        assert other["users"] == plain["users"]
        assert not {stage for stage in ("prepare", "distil", "pretrain", "adapt") if other[stage] == plain[stage]}
    other = RunFolder(load("sample", to_overrides({"catalogue.valid_share": 0.2})), tmp_path).fingerprints
    assert other["users"] != plain["users"]


RUN = {
    "judge.tune.enabled": True,
    "judge.tune.interactions": 40,
    "judge.tune.epochs": 1,
    "judge.audit_prompts": 20,
    "judge.allow_chance": True,
    "judge.engine": "transformers",
    "users.sequence.epochs": 2,
    "users.horizon": 5,
    "distil.sessions": 60,
    "distil.steps": 3,
    "pretrain.critic_updates": 20,
}


def trained(folder: Path, catalogue: Catalogue) -> dict[str, Any]:
    """What a run's stages leave: hashes of files."""
    data = folder / "data"
    data.mkdir(parents=True)
    log = {"user_id": catalogue.user_ids[catalogue.user], "item_id": catalogue.item_ids[catalogue.item]}
    pd.DataFrame(log | {"position": np.tile(np.arange(EACH), USERS)}).to_csv(data / "interactions.csv", index=False)
    pd.DataFrame({"item_id": catalogue.item_ids, **catalogue.item_texts}).to_csv(data / "items.csv", index=False)
    own = {"catalogue.data": data, "catalogue.attributes": ("genre",), "seeds": (0,)}
    settings = load("sample", to_overrides({**RUN, **own}))
    run = RunFolder(settings, folder / "run")
    run_all(run, Progress(), ("prepare", "users", "tune", "distil", "pretrain"))
    files = {
        "train": "users/train/model.safetensors",
        "valid": "users/valid/model.safetensors",
        "test": "users/test/model.safetensors",
        "judge": "tune/merged/model.safetensors",
        "policy": "pretrain/seed-0/policy.safetensors",
    }
    prints = {name: (np.array(str(file_records(run.root, [file]))),) for name, file in files.items()}
    return {**prints, "preferences": (np.array(run.facts("distil")["hash"]),)}


@pytest.mark.slow
def test_a_whole_run_trains_the_same_whatever_the_test_users_did(ray_session: None, tmp_path: Path) -> None:
    catalogue = made_up()
    plain = trained(tmp_path / "plain", catalogue)
    of_train = {"judge", "preferences", "train"}
    for group, kept in (("test_users", of_train | {"policy", "valid"}), ("valid_users", of_train)):
        changed = trained(tmp_path / group, shuffled(catalogue, getattr(catalogue, group)))
        assert same(plain, changed) == kept  # the policy's temperature is chosen in the validation world

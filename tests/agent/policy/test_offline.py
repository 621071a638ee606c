"""Offline training: it learns, resumes to the bit, stops by validation, and ranks without an environment."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.neighbours import Popularity
from ialp_rllib.agent.policy.offline import NetworkScorer, OfflineTraining
from ialp_rllib.agent.policy.sequential import SequentialRecommender
from ialp_rllib.agent.policy.transitions import EnvironmentData
from ialp_rllib.catalogue.ranking_split import Cases, RankingSplit, Sequences, rank_cases
from ialp_rllib.errors import InputError
from ialp_rllib.results.ranking import ranking_measures
from ialp_rllib.settings import OfflineSettings

N_ITEMS = 24


def walks(count: int, length: int, seed: int) -> Sequences:
    """Walks on a ring of items: the next item is 1 or 2 further, so that HR@2 of the best model is 1."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 3, (count, length))
    steps[:, 0] = rng.integers(0, N_ITEMS, count)
    return Sequences((np.cumsum(steps, 1) % N_ITEMS).ravel(), np.arange(count + 1) * length, np.arange(count))


def cases(log: Sequences) -> Cases:
    length = log.offsets[1]
    stop = (log.offsets[:-1, None] + np.arange(1, length)).ravel()
    return Cases(log.item, np.repeat(log.offsets[:-1], length - 1), stop, np.repeat(log.user, length - 1))


SPLIT = RankingSplit(walks(150, 9, 0), cases(walks(20, 9, 1)), cases(walks(20, 9, 2)), N_ITEMS)
SMALL = OfflineSettings(
    width=16, blocks=1, history=5, dropout=0.1, batch=20, learning_rate=5e-3, epochs=6, validate_every=1, warm_up=2
)


def trained(settings: OfflineSettings, seed: int = 0, **given) -> OfflineTraining:
    training = OfflineTraining(SPLIT, settings, seed, **given)
    while not training.finished:
        training.run_epoch()
    return training


def hit_rate(net: SequentialRecommender, head: str = "supervised", split: RankingSplit = SPLIT) -> float:
    return ranking_measures(rank_cases(NetworkScorer(net, head), split.test, N_ITEMS, False))["HR@5"]


@pytest.mark.parametrize(
    ("base", "objective"),
    [
        *(("sasrec", "ce"), ("sasrec", "sac"), ("sasrec", "sa2c"), ("gru4rec", "ce"), ("gru4rec", "snqn")),
        *(("nextitnet", "ce"), ("caser", "ce")),
    ],
)
def test_it_learns(base, objective):
    net = trained(dataclasses.replace(SMALL, base=base, objective=objective)).result()
    popular = ranking_measures(rank_cases(Popularity(SPLIT.train, N_ITEMS), SPLIT.test, N_ITEMS, False))["HR@5"]
    assert popular < 0.4 and hit_rate(net) > 0.9
    if objective == "snqn":
        assert hit_rate(net, "q") > 0.6


def test_resumed_training_is_the_same_to_the_bit(tmp_path):
    settings = dataclasses.replace(SMALL, objective="sa2c", epochs=4)
    whole = trained(settings)
    first = OfflineTraining(SPLIT, settings, 0)
    first.run_epoch()
    first.run_epoch()
    Checkpoints(tmp_path, "same").save(Checkpoint({"training": first.state()}, {}), 2)
    torch.rand(3)  # what else the process draws does not matter
    resumed = Checkpoints(tmp_path, "same").newest()
    assert resumed is not None
    second = OfflineTraining(SPLIT, settings, 0)
    second.set_state(resumed.checkpoint.state["training"])
    while not second.finished:
        second.run_epoch()
    assert second.curve == whole.curve and second.best == whole.best
    weights = whole.result().state_dict()
    assert all(torch.equal(weights[name], value) for name, value in second.result().state_dict().items())
    other = OfflineTraining(SPLIT, settings, 1)
    other.run_epoch()
    assert other.curve != whole.curve[:1]


def test_scores_are_those_of_a_pass_over_each_history_alone():
    net = trained(dataclasses.replace(SMALL, epochs=1)).result()
    some = SPLIT.test.of(np.random.default_rng(0).permutation(len(SPLIT.test))[:40])
    scores = NetworkScorer(net)(some)
    table = net.items()
    for n, (start, stop) in enumerate(zip(some.start, some.stop, strict=True)):
        history = torch.from_numpy(some.item[max(start, stop - 5) : stop])[None]  # at most L items
        assert torch.allclose(scores[n], net.logits(net.states(history, table)[:, -1], table)[0], atol=1e-5)


def test_training_stops_by_validation_and_keeps_the_best_pass():
    training = OfflineTraining(SPLIT, dataclasses.replace(SMALL, epochs=50, patience=2), 0)
    while not training.finished:
        training.run_epoch()
    found = [row["NDCG@10"] for row in training.curve]
    assert training.best == int(np.argmax(found)) + 1 == len(found) - 2
    rank = rank_cases(NetworkScorer(training.result()), SPLIT.valid, N_ITEMS, SPLIT.masks_seen())
    assert ranking_measures(rank)["NDCG@10"] == pytest.approx(max(found))


@pytest.mark.parametrize("objective", ["ce", "eval"])
def test_a_q_head_without_a_loss_does_not_stop_the_training(objective):
    settings = dataclasses.replace(SMALL, objective=objective, epochs=4)
    softmax, q = (trained(dataclasses.replace(settings, ranked_by=head)) for head in ("supervised", "q"))
    assert q.curve == softmax.curve and q.best == softmax.best


def test_no_pass_of_the_warm_up_is_chosen():
    training = trained(dataclasses.replace(SMALL, objective="sa2c", warm_up=3, patience=1, validate_every=1))
    assert [row["NDCG@10"] is None for row in training.curve[:4]] == [True, True, True, False]
    assert training.best > 3


def environment(seed: int = 0) -> EnvironmentData:
    rng = np.random.default_rng(seed)
    rows, item = len(SPLIT.train.item), SPLIT.train.item
    actions = (np.append(item[1:], 0) + 5) % N_ITEMS
    return EnvironmentData(rng.normal(size=(rows, 3)).astype(np.float32), rng.random(rows), actions, rng.random(rows))


def test_ranking_needs_no_environment_where_q_alone_reads_it():
    """``le_to = q``: what the environment says of the cases does not reach the softmax."""
    settings = dataclasses.replace(SMALL, objective="snqn", epochs=2)
    net = trained(settings, environment=environment()).result()
    states = np.random.default_rng(1).normal(size=(len(SPLIT.test.item), 3))
    without, with_states = (NetworkScorer(net, "supervised", x)(SPLIT.test) for x in (None, states))
    assert torch.equal(without, with_states)
    q = [NetworkScorer(net, "q", x)(SPLIT.test) for x in (None, states)]
    assert not torch.allclose(*q, atol=1e-3)


def test_both_heads_read_the_environment_where_asked():
    settings = dataclasses.replace(SMALL, objective="snqn", le_to="both", epochs=1)
    states = np.random.default_rng(1).normal(size=(len(SPLIT.valid.item), 3))
    net = trained(settings, environment=environment(), valid_states=states).result()
    other = [NetworkScorer(net, "supervised", x)(SPLIT.valid) for x in (states, -states)]
    assert not torch.allclose(*other, atol=1e-3)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(InputError, match="no validation case"):
        OfflineTraining(SPLIT._replace(valid=SPLIT.valid.of(slice(0))), SMALL, 0)
    with pytest.raises(InputError, match="rows of finite numbers"):
        OfflineTraining(SPLIT, SMALL, 0, EnvironmentData(rewards=np.ones(3)))
    huge = dataclasses.replace(environment(), action_rewards=None, actions=None, rewards=np.full(1350, 1e30))
    training = OfflineTraining(SPLIT, dataclasses.replace(SMALL, objective="sqn"), 0, huge)
    with pytest.raises(InputError, match="not finite"):
        training.run_epoch()


def test_the_control_eval_predicts_how_much_was_read():
    """An auxiliary loss without rewards: the number of items so far, which the state can know."""
    training = trained(dataclasses.replace(SMALL, objective="eval", epochs=3))
    lengths = [row["length"] for row in training.curve]
    assert lengths[-1] < lengths[0] / 2 and lengths[-1] < np.var(np.arange(1, 6) / 5)
    assert set(training.curve[0]) == {"epoch", "length", "ce", "loss", "NDCG@10"}
    assert SequentialRecommender(N_ITEMS, SMALL).count is None

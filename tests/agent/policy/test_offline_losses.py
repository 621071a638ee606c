"""Losses of SQN, SAC, SNQN and SA2C with augmented actions, against loops over single transitions."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from ialp_rllib.agent.policy.offline_losses import (
    AugmentedTerms,
    QTerms,
    actor_weight,
    advantage,
    augmented_losses,
    q_losses,
    supervised_loss,
)
from ialp_rllib.agent.policy.offline_terms import Terms, loss_terms
from ialp_rllib.agent.policy.sequential import SequentialRecommender
from ialp_rllib.agent.policy.transitions import EnvironmentData, Transitions
from ialp_rllib.catalogue.ranking_split import Sequences
from ialp_rllib.settings import OfflineSettings

N_ITEMS, GAMMA, K, WIDTH = 12, 0.5, 3, 4
ITEMS = [[3, 1, 2, 9], [4, 0], [7], [5, 6, 3]]
TRAIN = Sequences(np.concatenate(ITEMS), np.append(0, np.cumsum([len(x) for x in ITEMS])), np.arange(4))
RNG = np.random.default_rng(5)
ENVIRONMENT = EnvironmentData(
    states=RNG.normal(size=(10, WIDTH)).astype(np.float32),
    rewards=RNG.random(10),
    actions=np.array([8, -1, 4, 0, 11, 0, 0, 1, 2, 0]),
    action_rewards=RNG.random(10),
    action_states=RNG.normal(size=(10, WIDTH)).astype(np.float32),
)


def networks(
    environment: EnvironmentData, dropout: float = 0.0, **settings
) -> tuple[SequentialRecommender, SequentialRecommender]:
    """A network and a target network with other weights."""
    torch.manual_seed(2)
    sizes = {"width": 8, "history": 6, "negatives": K, "gamma": GAMMA, "dropout": dropout}
    made = OfflineSettings(**sizes, **settings)
    net = SequentialRecommender(N_ITEMS, made, 0 if environment.states is None else WIDTH)
    target = copy.deepcopy(net).eval()
    for network in (net, target):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return net, target


class Reference:
    """Every quantity of one transition by a pass of its own."""

    def __init__(self, net: SequentialRecommender, target: SequentialRecommender, environment: EnvironmentData) -> None:
        self.net, self.target, self.environment = net, target, environment

    def heads(self, network: SequentialRecommender, history: list[int], beside: np.ndarray | None):
        """(logits, Q) of all items after a history."""
        table = network.items()
        plain = network.states(torch.tensor([history]), table)[:, -1]
        joined = plain if beside is None else network.joined(plain, torch.from_numpy(beside)[None])
        both = network.settings.le_to == "both"
        return network.logits(joined if both else plain, table)[0], network.values(joined, table)[0]

    def value(self, history: list[int], beside: np.ndarray | None) -> float:
        best = int(self.heads(self.net, history, beside)[1].argmax())
        return float(self.heads(self.target, history, beside)[1][best].detach())

    def row(self, p: int) -> np.ndarray | None:
        return None if self.environment.states is None else self.environment.states[p]

    def losses(self, negatives: np.ndarray, weighted: bool) -> dict[str, Tensor]:
        """The losses of all transitions of :data:`TRAIN`, in the order of the log."""
        settings, env = self.net.settings, self.environment
        sums: dict[str, list[Tensor]] = {}
        drawn = iter(negatives)
        for start, stop in zip(TRAIN.offsets, TRAIN.offsets[1:], strict=False):
            for p in range(start, stop - 1):
                history, action, last = TRAIN.item[start : p + 1].tolist(), int(TRAIN.item[p + 1]), p + 2 == stop
                logits, q = self.heads(self.net, history, self.row(p))
                log_prob = torch.log_softmax(logits, 0)
                reward = 1.0 if env.rewards is None else env.rewards[p]
                y = reward + (0 if last else GAMMA * self.value([*history, action], self.row(p + 1)))
                weight = 1.0
                if settings.objective != "ce":
                    sums.setdefault("q", []).append((q[action] - y) ** 2)
                if settings.objective in ("snqn", "sa2c"):
                    others = next(drawn).tolist()
                    here = GAMMA * self.value(history, self.row(p))
                    sums.setdefault("q_negatives", []).append(sum((q[o] - here) ** 2 for o in others))
                    mean = np.mean([float(q[o].detach()) for o in (action, *others)])
                    if weighted and settings.objective == "sa2c":
                        weight = max(0.0, float(q[action].detach()) - mean)
                if weighted and settings.objective == "sac":
                    weight = max(0.0, float(q[action].detach()))
                sums.setdefault("ce", []).append(-weight * log_prob[action])
                if env.actions is not None and env.actions[p] >= 0:
                    self.augmented(sums, p, history, log_prob, q, last)
        return {name: torch.stack(values).mean() for name, values in sums.items()}

    def augmented(self, sums, p: int, history: list[int], log_prob: Tensor, q: Tensor, last: bool) -> None:
        env, settings = self.environment, self.net.settings
        action = int(env.actions[p])
        sums.setdefault("augmented_ce", []).append(-settings.augmented_ce * log_prob[action])
        if settings.objective == "ce":
            return
        if settings.augmented_next == "pass":
            later = self.value([*history, action], env.states[p] if env.action_states is None else env.action_states[p])
        else:
            later = self.value(history, self.row(p))
        y = env.action_rewards[p] + (0 if last else GAMMA * later)
        sums.setdefault("augmented_q", []).append(settings.augmented_q * (q[action] - y) ** 2)


def total(net: SequentialRecommender, terms: Terms, weighted: bool) -> dict[str, Tensor]:
    settings, losses, weight = net.settings, {}, None
    if terms.q is not None:
        losses |= q_losses(terms.q, settings.q_weight)
        weight = actor_weight(settings.objective, terms.q) if weighted else None
    if terms.augmented is not None:
        losses |= augmented_losses(terms.augmented, settings.augmented_ce, settings.augmented_q)
    return {**losses, "ce": supervised_loss(terms.log_prob, weight)}


def compare(environment: EnvironmentData, weighted: bool = True, **settings) -> dict[str, Tensor]:
    """Losses and gradients of a batch equal those of the loop."""
    net, target = networks(environment, **settings)
    batch = Transitions(TRAIN, 6, N_ITEMS).batch(np.array([0, 1, 2]))
    slow = None if net.settings.objective == "ce" else target
    found = total(net, loss_terms(net, slow, batch, environment, np.random.default_rng(9)), weighted)
    negatives = np.random.default_rng(9).integers(N_ITEMS - 1, size=(6, K))
    negatives += negatives >= batch.action.numpy()[:, None]
    expected = Reference(net, target, environment).losses(negatives, weighted)
    plain = [{name: float(loss.detach()) for name, loss in losses.items()} for losses in (found, expected)]
    assert plain[0] == pytest.approx(plain[1], abs=1e-5)
    gradients = []
    for losses in (found, expected):
        net.zero_grad()
        sum(losses.values()).backward()
        gradients.append([p.grad for p in net.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))
    assert not any(p.grad is not None for p in target.parameters())
    return {name: loss.detach() for name, loss in found.items()}


@pytest.mark.parametrize("base", ["sasrec", "gru4rec"])
@pytest.mark.parametrize("objective", ["ce", "sqn", "sac", "snqn", "sa2c"])
def test_losses_without_an_environment(base, objective):
    found = compare(EnvironmentData(), base=base, objective=objective)
    assert set(found) == {"ce"} | ({"q"} if objective != "ce" else set()) | (
        {"q_negatives"} if objective in ("snqn", "sa2c") else set()
    )


@pytest.mark.parametrize("le_to", ["q", "both"])
@pytest.mark.parametrize("augmented_next", ["pass", "stay"])
def test_losses_with_states_rewards_and_augmented_actions(le_to, augmented_next):
    found = compare(ENVIRONMENT, objective="snqn", le_to=le_to, augmented_next=augmented_next, le_join="gate")
    assert set(found) == {"ce", "q", "q_negatives", "augmented_ce", "augmented_q"}


def test_more_of_the_environment():
    assert set(compare(ENVIRONMENT, objective="ce")) == {"ce", "augmented_ce"}
    compare(ENVIRONMENT, base="gru4rec", objective="sa2c")
    compare(EnvironmentData(states=ENVIRONMENT.states, rewards=ENVIRONMENT.rewards), objective="sqn")
    compare(
        EnvironmentData(ENVIRONMENT.states, None, ENVIRONMENT.actions, ENVIRONMENT.action_rewards), objective="snqn"
    )


def test_before_the_warm_up_ends_the_cross_entropy_is_plain():
    plain, weighted = (compare(EnvironmentData(), w, objective="sa2c")["ce"] for w in (False, True))
    assert float(plain) == pytest.approx(float(compare(EnvironmentData(), objective="snqn")["ce"]))
    assert float(plain) != pytest.approx(float(weighted))


def test_the_states_of_the_environment_reach_the_softmax_only_where_asked():
    """With ``le_to = q`` cross-entropy is the same whatever the environment says."""
    other = EnvironmentData(**{**vars(ENVIRONMENT), "states": -ENVIRONMENT.states})
    batch = Transitions(TRAIN, 6, N_ITEMS).batch(np.arange(3))
    for le_to, same in (("q", True), ("both", False)):
        net, target = networks(ENVIRONMENT, objective="snqn", le_to=le_to)
        found = [loss_terms(net, target, batch, e, np.random.default_rng(0)).log_prob for e in (ENVIRONMENT, other)]
        assert torch.equal(*found) == same


def test_an_advantage_is_never_negative_and_has_no_gradient():
    q, negatives = torch.tensor([1.0, 0.0], requires_grad=True), torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    found = advantage(q, negatives)
    assert found.tolist() == pytest.approx([2 / 3, 0.0]) and not found.requires_grad


def test_the_errors_of_negatives_are_summed_not_averaged():
    terms = QTerms(torch.zeros(2), torch.ones(2), torch.ones(2, 10), torch.zeros(2))
    losses = q_losses(terms, 0.5)
    assert {n: float(v) for n, v in losses.items()} == {"q": 0.5, "q_negatives": 5.0}


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="negatives_target"):
        q_losses(QTerms(torch.zeros(2), torch.ones(2), torch.ones(2, 3), torch.zeros(2, 1)), 1.0)
    with pytest.raises(ValueError, match="weight"):
        supervised_loss(torch.zeros(3), torch.ones(3, 1))
    with pytest.raises(ValueError, match="target"):
        augmented_losses(AugmentedTerms(torch.zeros(3), torch.zeros(3), torch.zeros(1, 3)), 1.0, 1.0)

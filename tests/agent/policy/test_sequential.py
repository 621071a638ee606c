"""States of sequential recommenders: one pass equals one pass per prefix, nothing sees the future; the shared block."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.attention import Block
from ialp_rllib.agent.policy.sequential import BASES, SequentialRecommender
from ialp_rllib.errors import InputError
from ialp_rllib.settings import OfflineSettings

N_ITEMS, HISTORY = 20, 6


def network(base: str = "sasrec", environment_width: int = 0, **settings) -> SequentialRecommender:
    torch.manual_seed(1)
    given = {"width": 8, "heads": 2, "history": HISTORY, **settings}
    net = SequentialRecommender(N_ITEMS, OfflineSettings(base=base, **given), environment_width)
    for parameter in net.parameters():  # large enough that a wrong mask shows
        nn.init.normal_(parameter, std=0.5)
    return net.eval()


@pytest.fixture(params=list(BASES))
def net(request) -> SequentialRecommender:
    return network(request.param)


def test_one_pass_equals_a_pass_per_prefix(net):
    inputs, table = torch.randint(N_ITEMS, (4, HISTORY)), net.items()
    states = net.states(inputs, table)
    for stop in range(1, HISTORY + 1):
        prefix = net.states(inputs[:, :stop], table)[:, -1]
        assert torch.allclose(states[:, stop - 1], prefix, atol=1e-5)


def test_padding_at_the_right_changes_nothing(net):
    inputs, table = torch.randint(N_ITEMS, (4, 3)), net.items()
    padded = torch.cat([inputs, torch.full((4, 3), N_ITEMS)], 1)
    assert torch.allclose(net.states(padded, table)[:, :3], net.states(inputs, table), atol=1e-6)


def test_a_state_does_not_see_the_future(net):
    first = torch.randint(N_ITEMS, (4, HISTORY))
    second = first.clone()
    second[:, 3:] = (second[:, 3:] + 1) % N_ITEMS
    one, two = (net.states(inputs, net.items()) for inputs in (first, second))
    assert torch.allclose(one[:, :3], two[:, :3], atol=1e-6)
    assert not torch.allclose(one[:, 3], two[:, 3], atol=1e-3)


def test_states_after_actions_equal_a_pass_over_the_prefix_and_the_action(net):
    inputs, actions = torch.randint(N_ITEMS, (4, HISTORY)), torch.randint(N_ITEMS, (4, HISTORY))
    table = net.items()
    states, after = net.states_with_actions(inputs, actions, table)
    assert torch.allclose(states, net.states(inputs, table), atol=1e-5)
    for stop in range(1, HISTORY):  # after L items there is no position left: the last one is taken
        plain = torch.cat([inputs[:, :stop], actions[:, stop - 1 : stop]], 1)
        assert torch.allclose(after[:, stop - 1], net.states(plain, table)[:, -1], atol=1e-5)


def test_what_is_out_of_reach_of_a_convolution_does_not_change_its_state():
    """NextItNet with one block reads 1 + 2 * (1 + 2) items, Caser those of its window."""
    for net, reach in ((network("nextitnet", blocks=1, history=12), 7), (network("caser", window=3, history=12), 3)):
        first = torch.randint(N_ITEMS, (4, 12))
        second = first.clone()
        second[:, 2] = (second[:, 2] + 1) % N_ITEMS
        one, two = (net.states(inputs, net.items()) for inputs in (first, second))
        same = [torch.allclose(one[:, t], two[:, t], atol=1e-6) for t in range(12)]
        assert same == [t < 2 or t >= 2 + reach for t in range(12)]


def test_log_probabilities_of_some_items_are_those_of_all(net):
    states, items = torch.randn(5, 8), torch.randint(N_ITEMS, (5, 3))
    everything = torch.log_softmax(net.logits(states, net.items()), 1)
    assert torch.allclose(net.log_probs_of(states, items, net.items()), everything.gather(1, items), atol=1e-5)


def test_values_of_some_items_are_those_of_all(net):
    states, items = torch.randn(5, 8), torch.randint(N_ITEMS, (5, 3))
    everything = net.values(states, net.items())
    assert everything.shape == (5, N_ITEMS)
    assert torch.allclose(net.values_of(states, items, net.items()), everything.gather(1, items), atol=1e-5)


@pytest.mark.parametrize("join", ["sum", "gate"])
def test_states_of_the_environment_join(join):
    net = network(environment_width=5, le_join=join)
    states, beside = torch.randn(7, 8), torch.randn(7, 5)
    assert net.environment is not None
    side = net.environment(beside)
    if net.gate is not None:
        side = torch.sigmoid(net.gate(torch.cat([states, side], 1))) * side
    assert torch.equal(net.joined(states, beside), states + side)
    assert torch.equal(net.joined(states, None), states)


def test_heads_must_divide_the_width():
    with pytest.raises(InputError, match="a divisor of width, 8"):
        network(heads=3)


class _Before(Block):
    """The block as it was before it knew dropout."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, dim = x.shape
        qkv = self.qkv(self.norm_in(x)).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, dim))
        return x + self.feed(self.norm_out(x))


def test_without_dropout_the_block_of_the_online_agents_is_the_same_to_the_bit():
    now, before = Block(16, 2), _Before(16, 2)
    before.load_state_dict(now.state_dict())
    x, mask = torch.randn(3, 5, 16), torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    drawn = torch.get_rng_state()
    one, two = now.train()(x, mask), before.train()(x, mask)
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), drawn)  # nor is a random number drawn
    one.sum().backward()
    two.sum().backward()
    pairs = zip(now.parameters(), before.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None)


def test_dropout_acts_in_training_mode_only():
    block = Block(16, 2, dropout=0.5)
    x, mask = torch.randn(3, 5, 16), torch.ones(1, 1, 5, 5, dtype=torch.bool)
    assert not torch.equal(block.train()(x, mask), block(x, mask))
    assert torch.equal(block.eval()(x, mask), block(x, mask))

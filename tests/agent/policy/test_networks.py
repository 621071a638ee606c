"""Encoder and heads: causality, padding, masks, features, tied embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.items import Items
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.catalogue.features import tokens_of

N, L = 12, 6


def net(**options: object) -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(NetworkConfig(n_items=N, history=L, dim=16, **{"mask_recent": 3, **options}))  # type: ignore[arg-type]


def observation(*items: int, user: int = 0) -> torch.Tensor:
    row = torch.full((1, 1 + L), N, dtype=torch.int32)
    row[0, 0] = user
    if items:
        row[0, -len(items) :] = torch.tensor(items)
    return row


def state(model: ActorCritic, row: torch.Tensor) -> torch.Tensor:
    encoder = model.policy.encoder
    return encoder(row, encoder.items())


def test_exactly_the_masked_items_have_probability_zero() -> None:
    probs = torch.softmax(net()(observation(1, 2, 3, 4, 5))[0], -1)[0]
    assert (probs == 0).nonzero().squeeze(1).tolist() == [3, 4, 5, N]
    probs = torch.softmax(net(mask_recent=-1)(observation(1, 2, 3, 4, 5))[0], -1)[0]
    assert (probs == 0).nonzero().squeeze(1).tolist() == [1, 2, 3, 4, 5, N]
    probs = torch.softmax(net(mask_recent=0)(observation(1, 2, 3, 4, 5))[0], -1)[0]
    assert (probs == 0).nonzero().squeeze(1).tolist() == [N]


def test_state_depends_on_the_order_but_not_on_the_batch() -> None:
    model = net().eval()
    one, two = observation(1, 2, 3), observation(3, 2, 1)
    assert not torch.allclose(state(model, one), state(model, two))
    assert torch.allclose(state(model, torch.cat([one, two]))[:1], state(model, one), atol=1e-6)


def test_padding_has_no_effect() -> None:
    """The state of a short session is independent of the embedding of "no item"."""
    model = net()
    before = state(model, observation(4, 5))
    with torch.no_grad():
        model.policy.encoder.items.id.weight[N] += 10
    assert torch.allclose(before, state(model, observation(4, 5)), atol=1e-5)


def test_answers_change_the_state_but_not_the_mask() -> None:
    model = net(feedback=3).eval()
    plain, answered = observation(1, 2, 3, 4, 5), observation(1, 2, 3, 4, 5)
    answered[0, -4:] += (N + 1) * torch.tensor([3, 1, 2, 3], dtype=torch.int32)
    # Level embeddings are initialised to zero, for policies that were pre-trained without answers.
    assert torch.equal(state(model, plain), state(model, answered))
    assert torch.equal(state(net().eval(), plain), state(model, plain))
    levels = model.policy.encoder.answers
    assert levels is not None
    state(model, answered).square().sum().backward()
    assert levels.grad is not None
    assert (levels.grad != 0).any(1).tolist() == [False, True, True, True]  # that of an unknown answer stays zero
    with torch.no_grad():
        levels[1:] += torch.randn(3, 16)
    assert torch.equal(state(net().eval(), plain), state(model, plain))
    assert not torch.allclose(state(model, plain), state(model, answered), atol=1e-3)
    for row in (plain, answered):
        probs = torch.softmax(model(row)[0], -1)[0]
        assert (probs == 0).nonzero().squeeze(1).tolist() == [3, 4, 5, N]


def test_trimming_of_padded_columns_does_not_change_the_state() -> None:
    model = net().eval()
    short, long = observation(4, 5), observation(1, 2, 3, 4, 5, 6)
    assert model.policy.encoder._trim_padding(torch.cat([short, short])[:, 1:]).shape == (2, 2)
    assert model.policy.encoder._trim_padding(observation()[:, 1:]).shape == (1, 1)
    assert torch.allclose(state(model, torch.cat([short, long]))[:1], state(model, short), atol=1e-6)
    assert torch.isfinite(state(model, observation())).all()


def test_attention_is_causal() -> None:
    """Outputs before the last position do not depend on the last item."""
    model, outputs = net(blocks=1), []
    model.policy.encoder.norm.register_forward_hook(lambda _m, _i, out: outputs.append(out.detach()))
    state(model, observation(1, 2, 3, 4))
    state(model, observation(1, 2, 3, 9))
    assert torch.allclose(outputs[0][:, :-1], outputs[1][:, :-1])
    assert not torch.allclose(outputs[0][:, -1], outputs[1][:, -1])


def test_users_are_represented_by_their_attributes() -> None:
    codes = np.array([[0, 1], [0, 1], [1, 0]])
    model = net(user_codes=codes, user_sizes=[2, 2])
    logits = [model(observation(1, 2, user=u))[0] for u in range(3)]
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


@pytest.mark.parametrize("shared", [True, False])
def test_actor_gradient_reaches_only_a_shared_encoder(shared: bool) -> None:
    model = net(shared_encoder=shared)
    logits, _ = model(observation(1, 2))
    torch.softmax(logits, -1)[0, 7].backward()
    assert (model.policy.encoder.items.id.weight.grad is not None) is shared
    assert model.policy.actor.hidden[0].weight.grad is not None


def test_items_share_the_embeddings_of_their_attributes() -> None:
    model = net(item_tokens=tokens_of({"kind": np.array(["coat", "hat", "shoe"] * (N // 3))}))
    items = model.policy.encoder.items()
    assert items.shape == (N + 1, 16)
    with torch.no_grad():
        model.policy.encoder.items.id.weight.zero_()
    items = model.policy.encoder.items()
    assert torch.equal(items[0], items[3])
    assert not torch.allclose(items[0], items[1])
    items[3].sum().backward()
    assert model.policy.encoder.items.values.weight.grad[0].abs().sum() > 0


def test_items_share_the_projection_of_their_text_vectors() -> None:
    vectors = np.tile(np.eye(3, dtype=np.float32), (N // 3, 1))
    items = Items(N, 16, vectors=vectors)
    found = items()
    torch.testing.assert_close(found[:-1], items.id.weight[:-1] + torch.from_numpy(vectors) @ items.project.weight.T)
    assert torch.equal(found[-1], items.id.weight[-1])  # no item has no text
    found[3].sum().backward()
    assert items.project.weight.grad[:, 0].abs().sum() > 0 and not items.project.weight.grad[:, 1:].any()
    assert "vectors" not in items.state_dict()
    torch.manual_seed(0)
    plain = Items(N, 16)
    torch.manual_seed(0)
    assert torch.equal(plain.id.weight, Items(N, 16, None, vectors).id.weight)


def test_dueling_critic_adds_one_state_value_to_all_items() -> None:
    model = net(dueling=True)
    observed = observation(1, 2, 3)
    _, q = model(observed)
    with torch.no_grad():
        model.critic.value[-1].bias += 2.0
    _, raised = model(observed)
    assert torch.allclose(raised, q + 2.0, atol=1e-6)
    plain = net(dueling=False)
    assert plain.critic.value is None


def test_token_embeddings_and_their_gradient_match_a_plain_sum() -> None:
    titles = np.array(["steel bolt", "steel nut", "glass jar", "glass bolt"])
    tokens = tokens_of({"title": titles})
    assert tokens.size == 3  # steel, bolt, glass; words that occur in one title only are dropped
    items = Items(4, 8, tokens)
    embeddings = items()
    weight = items.values.weight
    kept = [[t for t in row if t < tokens.size] for row in tokens.codes.tolist()]
    plain = torch.stack([items.id.weight[i] + weight[kept[i]].sum(0) * float(tokens.scale[i]) for i in range(4)])
    assert torch.allclose(embeddings[:4], plain, atol=1e-6)
    assert torch.equal(embeddings[4], items.id.weight[4])
    upstream = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    gradient = torch.autograd.grad((embeddings[:4] * upstream).sum(), weight)[0]
    expected = torch.autograd.grad((plain * upstream).sum(), weight)[0]
    assert torch.allclose(gradient, expected, atol=1e-6)

"""Histories with candidates of all their positions in one pass, through two halves of a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ialp_rllib.errors import InputError
from ialp_rllib.judge.environment.backbones import GRUBackbone, LLMBackbone, adapters_size, trainable_size
from ialp_rllib.judge.environment.model import Environment
from tests.judge.environment.small import ITEMS, WIDTH, small_environment, small_llm, small_settings

A, B = np.array([3, 7, 9, 4]), np.array([5, 1])


def plain(model: Environment, items: list[int]) -> torch.Tensor:
    """The last hidden state of one sequence, by the whole model at once."""
    backbone = model.backbone
    assert isinstance(backbone, LLMBackbone)
    vectors = torch.cat([backbone.bos()[None], model.item_tokens[items]])[None]
    found: torch.Tensor = backbone.llm.base_model(inputs_embeds=vectors, use_cache=False).last_hidden_state[0, -1]
    return found


@pytest.mark.parametrize("top", [2, -1, 4])
def test_packed_candidates_equal_plain_sequences(top: int) -> None:
    model = small_environment(small_settings(top=top))
    candidates = np.arange(12).reshape(2, 3, 2) + 6
    with torch.no_grad():
        chain, beside = model.hidden(model.keep([A, B]), candidates)[0]
        for t, k in ((1, 0), (1, 1), (3, 1)):
            expected = plain(model, [*A[:t], int(candidates[0, t - 1, k])])
            torch.testing.assert_close(beside[0, t - 1, k], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(chain[0, 3], plain(model, [3, 7, 9]), atol=1e-5, rtol=0)
        torch.testing.assert_close(chain[1, 2], plain(model, [5, 1]), atol=1e-5, rtol=0)  # the shorter one, padded
        torch.testing.assert_close(beside[1, 1, 0], plain(model, [5, 1, int(candidates[1, 1, 0])]), atol=1e-5, rtol=0)


def test_adapters_are_in_the_upper_layers_alone() -> None:
    backbone = small_environment(small_settings(top=1)).backbone
    names = [name for name, weight in backbone.named_parameters() if weight.requires_grad]
    assert names and all(".layers.3." in name and "lora_" in name for name in names)
    assert backbone.layers_below == 3


@pytest.mark.parametrize("kind", ["llm", "gru"])
def test_a_state_does_not_see_the_future(kind: str) -> None:
    model = small_environment(kind=kind)
    with torch.no_grad():
        one, two = (model.chain(model.keep([np.array(x)])) for x in ([3, 7, 9, 4], [3, 7, 2, 18]))
    torch.testing.assert_close(one[:, :3], two[:, :3], atol=1e-6, rtol=0)
    assert not torch.allclose(one[:, 3], two[:, 3], atol=1e-3)


def test_a_recurrent_candidate_equals_the_next_item() -> None:
    model = small_environment(kind="gru")
    with torch.no_grad():
        chain, beside = model.hidden(model.keep([A]), A[None, 1:, None])[0]
    torch.testing.assert_close(beside[0, :, 0], chain[0, 2:], atol=1e-6, rtol=0)


def test_the_control_has_as_many_parameters() -> None:
    for size in (3_000, 40_000, 394_050):
        gru = GRUBackbone(576, size, 0.0)
        assert trainable_size(gru) == pytest.approx(max(size, 576), rel=0.6 if size < 10_000 else 0.03)


@pytest.mark.parametrize("adapters", ["shared", "separate"])
@pytest.mark.parametrize(("top", "targets"), [(2, ("q_proj",)), (-1, ("all-linear",)), (0, ("q_proj",))])
def test_the_size_of_adapters_is_known_without_the_weights(adapters: str, top: int, targets: tuple[str, ...]) -> None:
    settings = small_settings(adapters=adapters, top=top, targets=targets)
    size = trainable_size(LLMBackbone(small_llm(), settings))
    # rank 8: inputs and outputs of the query layers; of all seven linear layers (32 and 16 heads' elements, 64 inside)
    per_layer = 8 * (32 + 32) if targets == ("q_proj",) else 8 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    assert size == (1 + (adapters == "separate")) * per_layer * (4 if top < 0 else top)
    assert adapters_size(small_llm().config, settings) == size


@pytest.mark.parametrize("kind", ["llm", "gru"])
def test_separate_adapters_learn_from_their_own_loss(kind: str) -> None:
    """Both learn in one pass back, and neither changes what the other one is for."""
    settings = small_settings(adapters="separate")
    model = small_environment(settings, kind)
    assert trainable_size(LLMBackbone(small_llm(), settings)) == 2 * trainable_size(
        LLMBackbone(small_llm(), small_settings())
    )
    torch.nn.init.normal_(model.score_head.weight)  # one that has learnt something: gradients pass through it
    kept, candidates = model.keep([A, B]), np.array([[[6], [8]], [[2], [3]]])
    for_states, for_rewards = model.hidden(kept, candidates, states_beside=True)
    assert not torch.allclose(for_states.chain, for_rewards.chain, atol=1e-3)
    assert not torch.allclose(for_states.beside, for_rewards.beside, atol=1e-3)
    states, items = model.states(for_states.chain), torch.from_numpy(candidates).flatten(0, 1)
    rewards = model.rewards(for_rewards.beside.flatten(0, 1), states[:, 1:3].flatten(0, 1), items)
    (states.sum() + rewards.sum()).backward()
    weights = {n: w for n, w in model.backbone.named_parameters() if w.requires_grad}
    assert all(w.grad is not None and w.grad.any() for n, w in weights.items() if "bias" not in n)
    with torch.no_grad():
        for name, weight in weights.items():
            if "states" in name:
                weight.zero_()
        after = model.hidden(kept, candidates)[1]
    torch.testing.assert_close(after.beside, for_rewards.beside.detach(), atol=1e-5, rtol=0)


def test_a_tied_vocabulary_stays_as_it_is() -> None:
    llm = small_llm(tie_word_embeddings=True)
    before = {name: weight.clone() for name, weight in llm.named_parameters()}
    model = Environment(LLMBackbone(llm, small_settings()), torch.randn(ITEMS, WIDTH), 8)
    assert llm.get_input_embeddings().weight.shape == (99, WIDTH)
    assert "tokens" not in model.state_dict() and not model.item_tokens.requires_grad
    for name, weight in llm.named_parameters():
        if "lora" not in name:
            assert torch.equal(weight, before[name.replace(".base_layer", "")]) and not weight.requires_grad


def test_a_model_with_a_short_window_is_refused() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=9, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=4,
    )  # fmt: skip
    with pytest.raises(InputError, match="history"):
        LLMBackbone(MistralForCausalLM(config).eval(), small_settings())


def test_a_model_that_adds_positions_is_computed_whole() -> None:
    """GPT-2 adds positions to its inputs: in two halves they would be added twice."""
    from transformers import GPT2Config, GPT2LMHeadModel

    llm = GPT2LMHeadModel(
        GPT2Config(vocab_size=99, n_embd=32, n_layer=3, n_head=2, n_positions=64, bos_token_id=1)
    ).eval()
    backbone = LLMBackbone(llm, small_settings(targets=("c_attn",), top=1))
    assert backbone.layers_below == 0
    model = Environment(backbone, torch.randn(ITEMS, WIDTH), 8).eval()
    with torch.no_grad():
        beside = model.hidden(model.keep([A]), np.array([[[8], [9], [10]]]))[0].beside
        torch.testing.assert_close(beside[0, 1, 0], plain(model, [3, 7, 9]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["llm", "gru"])
def test_with_the_mean_of_tokens_a_candidate_is_still_the_next_item(kind: str) -> None:
    model = small_environment(small_settings(residual=True), kind)
    with torch.no_grad():
        chain, beside = model.hidden(model.keep([A, B]), np.stack([A[1:], [1, 8, 8]])[:, :, None])[0]
        torch.testing.assert_close(beside[0, :, 0], chain[0, 2:], atol=1e-4, rtol=0)
        torch.testing.assert_close(beside[1, 0, 0], chain[1, 2], atol=1e-4, rtol=0)
        model.residual = torch.tensor(0.0)
        plain = small_environment(small_settings(), kind)
        expected = plain.chain(plain.keep([A]))
        found = model.chain(model.keep([A]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_states_with_the_mean_of_tokens_begin_as_what_the_texts_say() -> None:
    """Where hidden states say nothing, next items are ranked by the mean of the history's tokens."""
    model = small_environment(small_settings(residual=True))
    with torch.no_grad():
        model.residual = torch.tensor(1e4)
        chain = model.chain(model.keep([np.array([7])]))
        assert int(model.similarity(model.states(chain[:, 1])).argmax()) == 7


@pytest.mark.parametrize("adapters", ["shared", "separate"])
def test_rewards_know_what_the_similarity_of_states_knows(adapters: str) -> None:
    """Where hidden states say nothing of an item, rewards differ as similarities do, by a weight that is learnt."""
    model = small_environment(small_settings(adapters=adapters))
    assert model.similar is not None
    items = torch.tensor([[6, 8, 2], [1, 9, 9]])
    for_states, for_rewards = model.hidden(model.keep([A, A + 1]), items[:, None].numpy())
    states, hidden = model.states(for_states.chain[:, 1]), for_rewards.beside[:, 0]
    rewards = model.rewards(hidden, states, items)  # nothing is learnt yet: hidden states say nothing of an item
    expected = torch.stack([(states[n] * model.action_vectors(items[n])).sum(1) for n in range(2)])
    torch.testing.assert_close(rewards, model.similar * expected)
    rewards.sum().backward()
    assert model.parametrizations.similar.original.grad != 0
    assert (model.action_head.weight.grad is None) == (adapters == "separate")


def test_without_similarity_rewards_are_of_hidden_states_alone() -> None:
    model = small_environment(small_settings(similar=False))
    hidden = torch.randn(2, 3, WIDTH)
    torch.nn.init.normal_(model.score_head.weight)
    found = model.rewards(hidden, torch.randn(2, 8), torch.zeros(2, 3, dtype=torch.int64))
    torch.testing.assert_close(found, model.score_head(torch.nn.functional.normalize(hidden, dim=-1))[..., 0])


def test_a_learning_rate_moves_rewards_alike_whatever_the_llm() -> None:
    """Hidden states of language models have lengths of 1 to 1,000: rewards, which logistic losses read, do not."""
    model = small_environment(small_settings(similar=False))
    torch.nn.init.normal_(model.score_head.weight)
    hidden, nothing = torch.randn(2, 3, WIDTH), (torch.randn(2, 8), torch.zeros(2, 3, dtype=torch.int64))
    torch.testing.assert_close(model.rewards(300 * hidden, *nothing), model.rewards(hidden, *nothing))


def test_small_states_keep_what_tells_items_apart() -> None:
    """Of tokens that differ in few directions, states of as many elements keep all similarities."""
    tokens = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) @ torch.randn(4, WIDTH)
    model = Environment(LLMBackbone(small_llm(), small_settings()), tokens, 4)
    vectors, units = model.action_vectors(), torch.nn.functional.normalize(tokens, dim=-1)
    torch.testing.assert_close(vectors @ vectors.T, units @ units.T, atol=1e-4, rtol=0)
    wide = Environment(LLMBackbone(small_llm(), small_settings()), tokens, WIDTH + 3).action_vectors()
    torch.testing.assert_close(wide @ wide.T, units @ units.T, atol=1e-4, rtol=0)

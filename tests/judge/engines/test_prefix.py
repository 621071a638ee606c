"""The beginning that prompts share is computed once, and changes no answer."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.packing import Leaf, Pack, make_packs
from ialp_rllib.judge.engines.prefix import as_queries, common, without_common
from ialp_rllib.judge.engines.transformers import TransformersEngine

INSTRUCTION = list(range(100, 140))


def prompts_of_users(users: int, orders: int) -> dict[int, list[int]]:
    """An instruction, a history of 40 tokens for each user, and 20 tokens for each of a user's prompts."""
    rng = np.random.default_rng(0)
    prompts: dict[int, list[int]] = {}
    for _ in range(users):
        history = rng.integers(0, 50, 40).tolist()
        for order in range(orders):
            prompts[len(prompts)] = INSTRUCTION + history + [60 + order] + rng.integers(0, 50, 19).tolist()
    return prompts


def test_what_all_begin_with() -> None:
    assert common([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == 2
    assert common([[1], [2]]) == 0 and common([[1, 2]]) == 2
    leaves = [Leaf(0, 0, [9])]
    shared, behind = without_common([Pack([*INSTRUCTION, 1, 2], leaves), Pack(INSTRUCTION, leaves)])
    assert shared == INSTRUCTION[:-1], "the last token of each prefix stays: behind it the first one is predicted"
    assert behind == [Pack([139, 1, 2], leaves), Pack([139], leaves)]
    for packs in (
        [Pack(INSTRUCTION, leaves)],
        [],
        [Pack([1, 2, 3], [Leaf(0, 0, [9] * 60)])] * 2,
        [Pack([], leaves)] * 2,
    ):
        assert without_common(packs) == ([], packs), "nothing to save"


@pytest.mark.parametrize("orders", [1, 3])
def test_prompts_of_one_user_share_the_history(orders: int) -> None:
    prompts = prompts_of_users(4, orders)
    queries = as_queries(prompts)
    assert {row: prefix + rest[0] for row, (prefix, rest) in queries.items()} == prompts
    packs = make_packs(queries, budget=2048, together=True)
    assert sorted(len(pack.leaves) for pack in packs) == [orders] * 4
    shared, behind = without_common(packs)
    assert shared == INSTRUCTION
    assert sum(pack.length for pack in behind) == 4 * (40 + 20 * orders)


def test_prompts_that_are_equal_or_short() -> None:
    same = as_queries({3: [5, 6, 7], 5: [5, 6, 7], 9: [5]})
    assert same == {3: ([5, 6], [[7]]), 5: ([5, 6], [[7]]), 9: ([], [[5]])}
    assert as_queries({}) == {}


@pytest.fixture(scope="module")
def engine(sample, builder) -> TransformersEngine:
    return TransformersEngine(sample.judge, builder, resolve_model("tiny"))


def test_letters_with_a_shared_beginning(engine, builder, examples, monkeypatch) -> None:
    assert engine.packed.shares
    history, candidates = np.repeat(examples.history[:5], 2, 0), examples.candidates[:5]
    orders = np.stack([candidates, np.roll(candidates, 5, 1)], 1).reshape(10, -1)
    prompts = builder.build(history, orders)
    output = engine.ask(prompts)
    assert engine.ask(prompts[:1]).logprobs.argmax() == output.logprobs[0].argmax()
    np.testing.assert_array_equal(engine.ask(prompts).logprobs, output.logprobs)
    monkeypatch.setattr(engine.packed, "shares", False)
    apart = engine.ask(prompts)
    np.testing.assert_allclose(output.logprobs, apart.logprobs, atol=1e-4)
    assert np.ptp(apart.logprobs) > 1 and output.tokens == apart.tokens, "tokens of the prompts, however computed"

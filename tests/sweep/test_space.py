"""What a sweep varies: lists and ranges, as grid, draws, and for a searcher."""

from __future__ import annotations

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.sweep.space import Range, corners, draw, grid, parse_space, tune_space

TEXTS = ["agent.gamma=[0.5, 0.9]", "agent.exploration=[greedy, categorical]"]
RANGES = [
    *("adapt.alpha.start=uniform(0.05, 1)", "agent.actor_lr=loguniform(1e-4, 1e-2)", "agent.batch=randint(8, 10)"),
    "agent.exploration=[greedy, categorical]",
]


def test_a_grid_has_all_combinations_and_no_ranges() -> None:
    values = [variant.values for variant in grid(parse_space(TEXTS))]
    assert values == [
        {"agent.gamma": gamma, "agent.exploration": name} for gamma in (0.5, 0.9) for name in ("greedy", "categorical")
    ]
    with pytest.raises(InputError, match=r"--vary adapt\.alpha\.start=uniform\(0\.05, 1\): is a range"):
        grid(parse_space(RANGES))


def test_draws_are_within_the_space_all_different_and_repeat_with_the_seed() -> None:
    space = parse_space(RANGES)
    drawn = [variant.values for variant in draw(space, 200, seed=3)]
    assert drawn == [variant.values for variant in draw(space, 200, seed=3)] != draw(space, 200, seed=4)
    assert len({str(values) for values in drawn}) == 200
    starts, rates = ([values[key] for values in drawn] for key in ("adapt.alpha.start", "agent.actor_lr"))
    assert 0.05 <= min(starts) < 0.1 and 0.95 < max(starts) <= 1
    assert 1e-4 <= min(rates) < 2e-4 and sum(rate < 1e-3 for rate in rates) == pytest.approx(100, abs=25)
    assert {values["agent.batch"] for values in drawn} == {8, 9, 10}
    assert all(type(values["agent.batch"]) is int for values in drawn)
    assert len(draw(parse_space(TEXTS), 50, seed=0)) == 4  # there are no more


def test_corners_hold_every_value_and_both_ends() -> None:
    found = [variant.values for variant in corners(parse_space(RANGES))]
    assert {values["adapt.alpha.start"] for values in found} == {0.05, 1.0}
    assert {values["agent.batch"] for values in found} == {8, 10}
    assert {values["agent.exploration"] for values in found} == {"greedy", "categorical"}


def test_the_searchers_domains_have_the_same_ends() -> None:
    domains = tune_space(parse_space(RANGES))
    assert (domains["agent.batch"].lower, domains["agent.batch"].upper) == (8, 11)  # the upper end of Tune is open
    assert domains["agent.actor_lr"].is_valid(1e-3) and not domains["agent.actor_lr"].is_valid(1.0)
    assert domains["agent.exploration"].categories == ["greedy", "categorical"]
    assert isinstance(parse_space(RANGES)["adapt.alpha.start"], Range)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("agent.gamma=uniform(1, 0)", "is an empty range"),
        ("agent.gamma=loguniform(0, 1)", "is an empty range"),
        ("agent.batch=randint(1, 2.5)", "is an empty range"),
        ("agent.gamma=uniform(a, 1)", "names no list of values"),
        ("agent.gamma=uniform(1e-, 1)", "an end is no number"),
        ("agent.gamma=0.5", "names no list of values"),
        ("agent.gamma=[0.5, 0.5]", "names a value twice"),
        ("agent.gamma", "is not KEY"),
    ],
)
def test_what_is_no_space_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parse_space([text])
    with pytest.raises(InputError, match="named twice"):
        parse_space([TEXTS[0], "agent.gamma=uniform(0, 1)"])

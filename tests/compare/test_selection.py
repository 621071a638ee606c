"""Choosing variants in the validation world, and the plan that measures the chosen ones in the test world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ialp_rllib.compare import Comparison, choose, chosen_plan, plan_comparison, read_selection, write_selection
from ialp_rllib.compare.selection import FILE
from ialp_rllib.compare.write import write_comparison
from ialp_rllib.errors import InputError
from ialp_rllib.results.schemas import check_results
from tests.compare.made_up import made_up
from tests.compare.test_run import arguments
from tests.report.made_up import result, results_table
from tests.report.reading import Page
from tests.small_run import finish

VARY = ["agent.gamma=[0.7, 0.8, 0.9]"]
LEVELS = {  # greedy return in the validation world by method and variant
    "a2c": {"gamma=0.7": 3.0, "gamma=0.8": 5.0, "gamma=0.9": 4.0},
    "aialp_ap": {"gamma=0.7": 6.0, "gamma=0.8": 6.0, "gamma=0.9": 5.0},  # a tie
    "popularity": {"gamma=0.7": 2.0, "gamma=0.8": 2.0, "gamma=0.9": 2.0},
}
CHOSEN = {"a2c": "gamma=0.8", "aialp_ap": "gamma=0.7", "popularity": "gamma=0.7"}


def plan(out: Path, world: str = "valid", seeds: int = 2, **more: object) -> Comparison:
    options: dict[str, object] = {"methods": ",".join(LEVELS), "vary": VARY, "overrides": ["agent.dim=16"], **more}
    return plan_comparison(["sample"], out, seeds=seeds, world=world, **options)  # type: ignore[arg-type]


def measured(levels: Mapping[str, Mapping[str, float]] = LEVELS):
    """Made-up measurements: sampled, and earlier, the order is the reverse."""
    rows = [
        result(method, seed, epoch, sign * (value + seed / 10), policy, scenario=f"sample, {variant}")
        for method, by_variant in levels.items()
        for variant, value in by_variant.items()
        for seed in (0, 1)
        for epoch, policy, sign in (("end", "greedy", 1), ("end", "sampled", -1), ("1", "greedy", -1))
    ]
    names = tuple(f"sample, {variant}" for variant in LEVELS["a2c"])
    whole = made_up(names, ("a2c",), seeds=2, variants={name: ("sample", name[8:]) for name in names})
    return replace(whole, result_rows=check_results(results_table(rows)), world="valid")


def test_the_highest_greedy_return_at_the_end_is_chosen_and_of_equal_ones_the_first(tmp_path: Path) -> None:
    selection = choose(plan(tmp_path), measured())
    choices = selection["choices"]["sample"]
    assert {method: choice["variant"] for method, choice in choices.items()} == CHOSEN
    assert choices["a2c"]["values"] == {"agent.gamma": 0.8}
    assert choices["a2c"]["returns"] == pytest.approx({"gamma=0.7": 3.05, "gamma=0.8": 5.05, "gamma=0.9": 4.05})
    assert "validation world" in selection["chosen_by"] and selection["seeds"] == [0, 1]


def test_a_diverged_variant_is_not_chosen(tmp_path: Path) -> None:
    diverged = {"a2c": {"gamma=0.7": float("nan"), "gamma=0.8": 1.0, "gamma=0.9": 0.5}}
    choice = choose(plan(tmp_path), measured(diverged))["choices"]["sample"]["a2c"]
    assert choice["variant"] == "gamma=0.8" and choice["returns"]["gamma=0.7"] is None


def test_choosing_twice_gives_the_same_choice(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        shuffled = measured()
        rows = shuffled.result_rows.to_pandas().sample(frac=1, random_state=len(texts))
        table = results_table(rows.to_dict("records"))
        texts.append(write_selection(plan(tmp_path), choose(plan(tmp_path), replace(shuffled, result_rows=table))))
        texts[-1] = texts[-1].read_text()
    assert texts[0] == texts[1] and json.loads(texts[0])["choices"]["sample"]["a2c"]["variant"] == "gamma=0.8"


def test_the_final_plan_measures_the_chosen_variants_only_in_the_test_world(tmp_path: Path) -> None:
    write_selection(plan(tmp_path), choose(plan(tmp_path), measured()))
    whole = plan(tmp_path, "test")
    final = chosen_plan(whole, read_selection(whole))
    assert final.world == "test" and final.out == tmp_path / "final" and not final.variants
    assert {name: run.settings.adapt.methods for name, run in final.runs.items()} == {
        **{f"sample, gamma=0.7, part {part}": ("popularity", "aialp_ap") for part in (0, 1)},
        **{f"sample, gamma=0.8, part {part}": ("a2c",) for part in (0, 1)},
    }
    for run in final.runs.values():
        assert run.settings.scenario == "sample" and run.settings.evaluate.world == "test"
        assert tmp_path / "final" in run.root.parents
    assert list(final.scenarios()) == ["sample"] and set(final.others) == set(whole.runs.values())
    valid = plan(tmp_path).runs["sample, gamma=0.8, part 0"]
    chosen = final.runs["sample, gamma=0.8, part 0"]
    for stage in ("prepare", "users", "pretrain"):  # copied, not made again
        assert valid.fingerprints[stage] == chosen.fingerprints[stage]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"overrides": ["agent.dim=32"]}, "was made with other settings or data of sample, gamma=0.7, part 0"),
        ({"methods": "a2c"}, "was made with other settings"),
        ({"seeds": 3}, "chose among .*; now there are .*part 2"),
        ({"vary": ["agent.gamma=[0.7, 0.8]"]}, "chose among .*gamma=0.9.*; now there are"),
    ],
)
def test_a_choice_that_does_not_fit(tmp_path: Path, change: dict[str, object], message: str) -> None:
    write_selection(plan(tmp_path), choose(plan(tmp_path), measured()))
    with pytest.raises(InputError, match=message):
        read_selection(plan(tmp_path, "test", **change))  # type: ignore[arg-type]


def test_no_choice_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was chosen yet\n  expected: the same command with --select first"):
        read_selection(plan(tmp_path, "test"))
    path = write_selection(plan(tmp_path), choose(plan(tmp_path), measured()))
    path.write_text("{")
    with pytest.raises(InputError, match=f"{FILE}: cannot be read"):
        read_selection(plan(tmp_path, "test"))


def test_the_world_is_not_set_beside_select(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--select or --final of ialp compare"):
        plan(tmp_path, overrides=["evaluate.world=test"])


def test_pages_and_manifests_say_what_was_chosen_where(tmp_path: Path) -> None:
    selection = choose(plan(tmp_path), measured())
    write_comparison(replace(measured(), selection=selection), tmp_path / "select")
    page = Page((tmp_path / "select" / "index.html").read_text())
    assert "Results in the validation world" in page.text and "the test world was not opened" in page.text
    assert "What was chosen in the validation world" in page.text and "gamma=0.8: 5.05" in page.text
    final = replace(made_up(("sample",), ("a2c", "popularity"), seeds=2), selection=selection)
    write_comparison(final, tmp_path / "final")
    page = Page((tmp_path / "final" / "index.html").read_text())
    assert "Results in the test world" in page.text and "Only the chosen variants were measured" in page.text
    manifest = json.loads((tmp_path / "final" / "manifest.json").read_text())
    assert manifest["world"] == "test" and manifest["selection"] == selection
    assert pd.read_csv(tmp_path / "final" / "table5.csv")["seeds"].max() == 2


@pytest.mark.slow
def test_selecting_and_measuring_what_was_chosen(tmp_path: Path) -> None:
    """Both calls as a user makes them, in one process each."""
    words = [*arguments(tmp_path, "popularity,a2c", 2), "--vary", "agent.gamma=[0.7, 0.9]", "--local-mode"]
    assert "chosen in the validation world" in " ".join(finish([*words, "--select"]).split())
    first = (tmp_path / "comparison" / FILE).read_text()
    finish([*words, "--select"])
    assert (tmp_path / "comparison" / FILE).read_text() == first
    finish([*words, "--final"])
    results = pd.read_parquet(tmp_path / "final" / "comparison" / "results.parquet")
    assert set(results["scenario"]) == {"sample"} and set(results["method"]) == {"popularity", "a2c"}
    manifest = json.loads((tmp_path / "final" / "comparison" / "manifest.json").read_text())
    assert manifest["world"] == "test" and manifest["selection"] == json.loads(first)

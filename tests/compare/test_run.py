"""``ialp compare`` end to end: a small comparison, a second call, an unfinished one, and invalid arguments."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.cli import main as cli
from ialp_rllib.compare import Comparison, collect, plan_comparison, run_scenario, write_comparison
from ialp_rllib.compare.plan import default_methods
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from tests.report.reading import Page
from tests.small_run import finish

SMALL = {
    "users.sequence.epochs": 1,
    "adapt.env_steps": 256,
    "adapt.epoch_steps": 64,
    "adapt.log_every": 64,
    "evaluate.every": 128,
    "evaluate.episodes": 20,
    "agent.dim": 16,
    "agent.batch": 32,
}
SETS = [f"{key}={value}" for key, value in SMALL.items()]


def plan(out: Path, seeds: int = 2) -> Comparison:
    return plan_comparison(["sample"], out, seeds=seeds, methods="popularity, a2c", overrides=SETS, fixed_split=True)


def arguments(out: Path, methods: str, seeds: int, *more: str) -> list[str]:
    """Command-line arguments of a small comparison."""
    sets = [part for text in SETS for part in ("--set", text)]
    return ["compare", "sample", "--out", str(out), "--seeds", str(seeds), "--methods", methods, *sets, *more]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two methods and two seeds on the sample, in one process: starting Ray's would take longer."""
    out = tmp_path_factory.mktemp("compared")
    output = finish([*arguments(out, "popularity,a2c", 2), "--fixed-split", "--local-mode"])
    assert "R at the end" in output and (out / "comparison" / "index.html").is_file()
    return out


def times(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (out / "sample").rglob("*.parquet")}


def test_results_of_all_runs(compared):
    measured = collect(plan(compared))
    analysis = write_comparison(measured, plan(compared).folder)
    diversity = measured.results[["coverage", "effective_items"]]
    assert diversity.notna().all(axis=None) and (diversity > 0).all(axis=None) and (diversity["coverage"] <= 1).all()
    assert measured.curves.loc[measured.curves["series"] == "train", "coverage"].isna().all()
    assert analysis.beyond["coverage_end"].notna().all() and analysis.beyond["forgetting"].isna().all()
    assert measured.missing == () and len(measured.results) == 2 * 2 * 4 * 2  # methods, seeds, epochs, policies
    assert analysis.costs.set_index("method").loc["a2c", "env_steps"] == 256.0
    assert (measured.costs.loc[measured.costs["method"] == "a2c", "cpu_seconds"] > 0).all()
    assert measured.costs["judge_prompts"].sum() == 0 and 0 < measured.random["sample"] < 10
    assert measured.missing_updates == ()
    equal = analysis.budgets.query("epoch == '1' and policy == 'greedy'").set_index("method")
    assert equal.loc["a2c", "updates_return"] > 0 and equal.loc["a2c", "updates_updates"] <= 64
    assert equal.loc["popularity", "updates_return"] == equal.loc["popularity", "samples_return"]
    rows = 32 + 2 * 3 * 2  # A2C with equal updates: seeds, epochs, policies
    assert pq.read_table(compared / "comparison" / "results.parquet").num_rows == rows
    assert "A2C" in Page((compared / "comparison" / "index.html").read_text()).text


@pytest.mark.slow
def test_every_seed_on_other_users(tmp_path):
    """The runs of all test parts are merged into one scenario."""
    finish([*arguments(tmp_path, "popularity", 2), "--local-mode"])
    halves = plan_comparison(["sample"], tmp_path, seeds=2, methods="popularity", overrides=SETS)
    measured = collect(halves)
    assert measured.scenarios == ["sample"] and measured.missing == ()
    assert sorted(measured.results["seed"].unique()) == [0, 1]
    ends = measured.results[measured.results["epoch"] == "end"].groupby("seed")["return"].mean()
    assert ends[0] != ends[1]  # the same policy on different users
    random = [run.facts("users")["test_random_policy"]["return"] for run in halves.runs.values()]
    assert random[0] != random[1] and measured.random == {"sample": pytest.approx(sum(random) / 2)}
    assert measured.settings["sample"]["seeds"] == [0, 1]
    assert measured.settings["sample"]["catalogue"]["test_part"] == [0, 1]
    page = Page((tmp_path / "comparison" / "index.html").read_text()).text
    assert "catalogue.test_part" in page and "part 1" not in page
    assert "sample: Every seed is tested on other users: one of 2 parts with 0.2 of the users each." in page


def test_a_second_call_trains_nothing(compared):
    before, progress = times(compared), Progress()
    run_scenario(plan(compared), "sample", progress)
    assert progress.ran == [] and times(compared) == before


def test_a_report_of_an_unfinished_comparison(compared, monkeypatch, capsys):
    before = times(compared)
    monkeypatch.setattr(
        sys, "argv", ["ialp", *arguments(compared, "a2c,popularity,pg", 3, "--fixed-split"), "--only-report"]
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert not end.value.code and times(compared) == before
    messages = " ".join(err.split())
    assert "not finished" in messages and "A2C (seed 2)" in messages and "PG (seeds 0, 1, 2)" in messages
    assert "Popularity" in out and "A2C (seed 2)" in Page((compared / "comparison" / "index.html").read_text()).text


def test_nothing_is_finished(tmp_path):
    with pytest.raises(InputError, match="no method and seed is finished"):
        collect(plan(tmp_path))


def test_runs_with_other_settings_do_not_count(compared):
    other = plan_comparison(["sample"], compared, seeds=1, methods="a2c", overrides=[*SETS, "agent.gamma=0.5"])
    assert other.finished() == {"sample": []}


def test_the_plan(tmp_path):
    (tmp_path / "shop.yaml").write_text("catalogue: {data: 'package:sample'}\n")
    comparison = plan_comparison(
        [str(tmp_path / "shop.yaml"), "coat"], tmp_path, data=[f"coat={tmp_path}"], fixed_split=True
    )
    runs = comparison.runs
    assert list(runs) == ["shop", "coat"] and runs["shop"].settings.scenario == "shop"
    assert runs["coat"].settings.catalogue.data == str(tmp_path)
    assert runs["shop"].root == tmp_path / "shop" and runs["shop"].settings.seeds == (0, 1, 2, 3, 4)
    assert set(default_methods(runs["shop"].settings)) == set(METHODS) - {"llm_online", "lea"}
    json.dumps(comparison.jobs())
    by_log = ["catalogue.log_users=[0, 30]"]
    sizes = plan_comparison(["sample"], tmp_path, seeds=1, methods="warm, ialp, ialp_log", vary=by_log)
    assert [jobs[0][0] for jobs in sizes.jobs().values()] == ["ialp", "warm"]  # without a log nothing starts from it
    assert [len(jobs) for jobs in sizes.jobs().values()] == [1, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": "a2c,a3c"}, "--methods: names 'a3c'"),
        ({"methods": "a2c,,pg"}, "--methods: names ''"),
        ({"methods": "a2c, a2c"}, "names 'a2c' twice"),
        ({"scenarios": ["sample", "netflix"]}, "scenario 'netflix': not found"),
        ({"scenarios": ["sample", "sample"]}, "'sample' is named twice"),
        ({"data": ["lfm=/"]}, "--data lfm=…: is not compared\n  expected: one of sample"),
        ({"data": ["sample"]}, "is not NAME=DIR"),
        ({"data": ["sample=a", "sample=b"]}, "'sample' is named twice"),
        ({"seeds": 0}, "--seeds: is 0"),
        ({"overrides": ["seeds=[1]"]}, "--seeds of ialp compare"),
        ({"overrides": ["adapt.methods=[a2c]"]}, "--methods of ialp compare"),
        ({"overrides": ["agent.gama=1"]}, "agent.gamma"),
    ],
)
def test_invalid_arguments(tmp_path, options, message):
    scenarios = options.pop("scenarios", ["sample"])
    with pytest.raises(InputError) as error:
        plan_comparison(scenarios, tmp_path, **options)
    assert message in str(error.value)


def test_missing_data_are_reported_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        plan_comparison(["sample", "coat"], tmp_path, data=[f"coat={tmp_path / 'nowhere'}"]).check()


def test_a_scenario_with_the_name_of_the_results_folder(tmp_path):
    (tmp_path / "comparison.yaml").write_text("catalogue: {data: 'package:sample'}\n")
    with pytest.raises(InputError, match="the folder of the results"):
        plan_comparison([str(tmp_path / "comparison.yaml")], tmp_path)

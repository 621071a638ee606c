"""The package from Python: a small real run, opened again, and how settings, gaps and errors come through."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ialp_rllib
from ialp_rllib import api
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import CURVES, RESULTS
from ialp_rllib.settings import load, to_dict
from ialp_rllib.settings.overrides import to_overrides
from tests.conftest import REPOSITORY
from tests.small_run import SMALL

SMALLER = {
    **SMALL,
    "judge.tune.enabled": False,
    "adapt": {"methods": ["a2c", "aialp_ap"], "env_steps": 1200, "epoch_steps": 500},
    "seeds": (3,),
}
SMALLER = {key: value for key, value in SMALLER.items() if not key.startswith("adapt.")}


@pytest.fixture(scope="module")
def run(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    return ialp_rllib.run("sample", SMALLER, out=tmp_path_factory.mktemp("api") / "run", progress=False)


def test_what_a_run_holds(run: api.Run) -> None:
    assert run.results.columns.tolist() == RESULTS.names
    assert set(run.results["method"]) == {"a2c", "aialp_ap"} and set(run.results["seed"]) == {3}
    assert run.curves.columns.tolist() == CURVES.names
    assert len(run.preferences) == 64 * 6
    assert run.items["item_id"][run.preferences["item"]].notna().all()
    assert len(run.items) == 300 and {"item_id", "genre", "maker", "mood", "is_cold"} == set(run.items.columns)
    assert len(run.interactions) == 13_001
    assert run.settings.adapt.env_steps == 1200
    assert 0 < run.judge["accuracy"] < 1
    assert {"train", "test"} <= set(run.users)
    assert run.report.read_text().startswith("<!")


def test_policies_recommend_items_of_the_catalogue(run: api.Run) -> None:
    items = set(run.items["item_id"])
    history = run.interactions["item_id"][:5].tolist()
    for method in ("a2c", "aialp_ap"):
        policy = run.policy(method, seed=3)
        best = policy.recommend(history, k=7)
        assert len(set(best)) == 7 and set(best) <= items - set(history)
        assert policy.item_ids.tolist() == run.items["item_id"].tolist()
        assert policy.probabilities(history).sum() == pytest.approx(1, abs=1e-5)
    theta = ialp_rllib.load_policy(run.folder / "pretrain" / "seed-3")
    assert theta.method == "ialp" and len(theta.recommend([])) == 10
    with pytest.raises(InputError, match=r"method 'a2c' and seed 0\n.*a2c seed 3, aialp_ap seed 3"):
        run.policy("a2c")


def test_it_says_what_it_holds(run: api.Run) -> None:
    for text in (repr(run), run._repr_html_()):
        for part in ("Run of sample", "300 items", "13,001 interactions", "a2c 3, aialp_ap 3", "384 prompts"):
            assert part in text
        assert str(run.folder) in text and "all finished" in text
    assert run._repr_html_().count("<tr>") == 7


def test_the_same_run_is_opened_and_not_run_again(run: api.Run) -> None:
    opened = ialp_rllib.open_run(str(run.folder))
    assert opened.settings == run.settings
    assert opened.results.equals(run.results)
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("manifest.json")}
    progress = Progress()
    ialp_rllib.run("sample", SMALLER, out=run.folder, progress=progress)
    assert progress.ran == []
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("manifest.json")} == before


def test_a_stage_that_is_not_finished_names_the_command(run: api.Run, tmp_path: Path) -> None:
    root = tmp_path / "a copy"
    shutil.copytree(run.folder, root)
    copy = ialp_rllib.open_run(root)
    (root / "report" / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"stage report of .* not finished\n.*`ialp run '.*settings\.yaml' --out '"):
        _ = copy.results
    assert len(copy.items) == 300 and "not finished: report" in repr(copy)
    shutil.copy(run.folder / "report" / "manifest.json", root / "report")
    assert len(copy.results)
    (root / "adapt" / "manifest.json").rename(root / "adapt" / "started.json")  # is being run again
    with pytest.raises(InputError, match="was made before stage adapt, which is not finished"):
        _ = copy.curves
    (root / "report" / "results.parquet").unlink()
    shutil.copy(run.folder / "adapt" / "manifest.json", root / "adapt")
    with pytest.raises(InputError, match=r"results\.parquet: is missing"):
        _ = copy.results
    (root / "adapt" / "a2c" / "seed-3" / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: is missing\n.*`ialp check RUN`"):
        copy.policy("a2c", 3)


def test_a_run_that_needs_no_judge_has_none(tmp_path: Path) -> None:
    run = api.Run(api.RunFolder(load("sample", ["adapt.methods=[a2c]"]), tmp_path))
    with pytest.raises(InputError, match=r"stage tune of .*\n.*`ialp tune .*settings\.yaml"):
        _ = run.judge
    live = api.Run(api.RunFolder(load("sample", ["pretrain.mode=live", "pretrain.loss=actor_critic"]), tmp_path))
    with pytest.raises(InputError, match=r"pretrain\.mode=table"):
        _ = live.preferences


def test_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no run \(no settings\.yaml\)\n.*`ialp run SCENARIO"):
        ialp_rllib.open_run(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        ialp_rllib.open_run(tmp_path / "nothing")
    (tmp_path / "settings.yaml").write_text("agent: {gama: 0.9}")
    with pytest.raises(InputError, match=r"settings\.yaml: unknown setting 'agent\.gama'"):
        ialp_rllib.open_run(tmp_path)


# ---- settings


def settings_of(overrides: dict[str, Any]) -> dict[str, Any]:
    return to_dict(load("sample", to_overrides(overrides)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("catalogue.data", "/tmp/run #3: new"),
        ("catalogue.data", "yes"),
        ("catalogue.data", "3.5"),
        ("catalogue.data", "null"),
        ("catalogue.data", " a 'b' \"c\" \\d\n e\t{f}: [g]\x85\x07 "),
        ("catalogue.data", "Müller \U0001f600"),
        ("catalogue.data", "..."),
        ("catalogue.data", "x" * 5000 + " y"),
        ("judge.platform", "2020-01-01"),
        ("agent.actor_lr", 1e-5),
        ("agent.actor_lr", 3.0e-7),
        ("agent.gamma", 0.1 + 0.2),
        ("agent.dueling", True),
        ("agent.item_attributes", False),
        ("seeds", [0, 1, 2]),
        ("adapt.methods", ["a2c"]),
        ("catalogue.attributes", []),
        ("catalogue.attributes", ["no", "1", "a: b", "#"]),
    ],
)
def test_values_come_through_as_they_are(name: str, value: Any) -> None:
    found: Any = settings_of({name: value})
    for part in name.split("."):
        found = found[part]
    assert found == value and type(found) is type(value)


def test_nested_and_dotted_names_are_one_and_the_same() -> None:
    nested = settings_of({"adapt": {"alpha": {"steps": 7}, "env_steps": 9}, "agent.gamma": 0.5})
    assert nested == settings_of({"adapt.alpha": {"steps": 7}, "adapt.env_steps": 9, "agent": {"gamma": 0.5}})
    assert nested["adapt"]["alpha"]["steps"] == 7 and nested["adapt"]["methods"]  # what is not named stays


def test_numpy_paths_tuples_and_ranges() -> None:
    found = settings_of(
        {"seeds": np.arange(3), "agent.gamma": np.float32(0.5), "agent.dim": np.int64(8), "catalogue.data": Path("a b")}
    )
    assert (found["seeds"], found["agent"]["gamma"], found["agent"]["dim"]) == ([0, 1, 2], 0.5, 8)
    assert found["catalogue"]["data"] == "a b"
    assert settings_of({"seeds": range(2)}) == settings_of({"seeds": (0, 1)})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"agent.gamma": "high"}, r"agent\.gamma is 'high'\n.*a number"),
        ({"agent.gamma": None}, r"agent\.gamma is None"),
        ({"agent.gamma": math.inf}, r"agent\.gamma is inf"),
        ({"agent.gamma": True}, r"agent\.gamma is True"),
        ({"agent.dim": 8.0}, r"agent\.dim is 8\.0\n.*a whole number"),
        ({"catalogue.data": 3}, r"catalogue\.data is 3\n.*text"),
        ({"seeds": "0"}, r"seeds is '0'\n.*a list"),
        ({"agent": 3}, r"agent is 3\n.*a group of settings"),
        ({"agent": {"gama": 0.5}}, r"unknown setting 'agent\.gama'\n.*agent\.gamma\?"),
        ({"agnt": {"gamma": 0.5}}, r"unknown setting 'agnt'"),
        ({"agent.gamma=0.5 #": 1}, r"is not the name of a setting"),
        ({3: 1}, r"unknown setting '3'"),
        ({"agent.gamma": object()}, r"overrides\['agent\.gamma'\]: holds object"),
        ({"agent.heads": 3}, r"agent\.heads: is 3"),
    ],
)
def test_wrong_settings_are_input_errors(overrides: dict[Any, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        ialp_rllib.run("sample", overrides, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_scenario_that_is_not_there() -> None:
    with pytest.raises(InputError, match="scenario 'simple': not found"):
        ialp_rllib.run("simple")


# ---- the door


def test_the_names_are_there_and_cost_nothing_until_they_are_used() -> None:
    script = """
import sys, ialp_rllib
assert {"run", "open_run", "load_policy", "Run", "SavedPolicy", "InputError"} <= set(dir(ialp_rllib))
print(sorted({"torch", "ray", "duckdb", "pandas", "pyarrow"} & set(sys.modules)))
from ialp_rllib import InputError, load_policy
print(sorted({"ray", "duckdb", "pandas", "pyarrow"} & set(sys.modules)))
try:
    ialp_rllib.runs
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "[]", "module 'ialp_rllib' has no attribute 'runs'"]


def test_a_line_per_stage(capsys: pytest.CaptureFixture[str]) -> None:
    lines = api._Lines()
    lines.up_to_date("prepare")
    with lines.stage("users"):
        pass
    written = capsys.readouterr().err
    assert "✓ Read and check the data  up to date" in written and "✓ Fit the simulated users  0.0 s" in written
    assert lines.ran == ["users"]


@pytest.mark.slow  # a process with a Ray of its own, that must be gone afterwards
def test_ray_is_ended_where_it_was_started_here(tmp_path: Path) -> None:
    values = {**SMALLER, "adapt": {"methods": ["random"], "env_steps": 200}, "users.sequence.epochs": 1}
    script = f"""
import json, ray, ialp_rllib
run = ialp_rllib.run("sample", {values!r}, out={str(tmp_path / "run")!r})
print(json.dumps([ray.is_initialized(), len(run.results), run.policy("random", 3).recommend([], k=2)]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    alive, rows, items = json.loads(done.stdout.splitlines()[-1])
    assert not alive and rows >= 4 and len(items) == 2
    assert "✓ Go online and adapt" in done.stderr

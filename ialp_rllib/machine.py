"""The facts of this machine that ``ialp doctor`` judges: versions, GPUs, memory, cores."""

from __future__ import annotations

import os
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name


class Torch(NamedTuple):
    """What torch says of itself."""

    version: str
    cuda: str | None  #: CUDA version that it was built for; None: a CPU build
    gpus: int  #: GPUs that it can use


class Gpu(NamedTuple):
    """One GPU as ``nvidia-smi`` sees it, memory in bytes."""

    name: str
    free: int
    total: int


def wanted() -> dict[str, SpecifierSet]:
    """Version bounds of pyproject.toml, extras included, from the installed metadata."""
    try:
        requirements = [Requirement(text) for text in metadata.requires("ialp_rllib") or []]
    except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH, as in a Ray job's working_dir
        return {}
    return {canonicalize_name(r.name): r.specifier for r in requirements}


def torch_build() -> Torch | str:
    """What torch says of itself, or why it does not import."""
    try:
        import torch

        return Torch(torch.__version__, torch.version.cuda, torch.cuda.device_count())
    except Exception as error:  # a broken build fails in many ways; the text is the finding
        return f"{type(error).__name__}: {error}"


def gpus() -> list[Gpu]:
    """The GPUs of this machine."""
    query = ["nvidia-smi", "--query-gpu=name,memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """GPUs from the CSV of ``nvidia-smi`` (MiB); lines without figures are left out."""
    found = []
    for line in text.splitlines():
        fields = re.fullmatch(r"\s*(.+?), *(\d+), *(\d+)\s*", line)
        if fields:
            found.append(Gpu(fields[1], int(fields[2]) * 1024**2, int(fields[3]) * 1024**2))
    return found


def free_memory() -> int:
    """Free memory, and never more than the container's limit leaves (cgroup v2)."""
    free = psutil.virtual_memory().available
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):  # no cgroup, or no limit ("max")
        return free
    return min(free, limit - used)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

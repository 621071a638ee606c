"""The facts of this machine that ``ialp doctor`` judges: versions, GPUs, memory, cores."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
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


def needed_by(package: str, other: str) -> SpecifierSet:
    """Versions of another package that an installed one asks for; any if it is not installed or does not say."""
    try:
        requirements = [Requirement(text) for text in metadata.requires(package) or []]
    except metadata.PackageNotFoundError:
        return SpecifierSet()
    found = [r for r in requirements if canonicalize_name(r.name) == other and (not r.marker or r.marker.evaluate())]
    return found[0].specifier if found else SpecifierSet()


_ASK_TORCH = """
import json, torch
print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.device_count()]))
"""


def torch_build(timeout: float = 300.0) -> Torch | str:
    """What torch says of itself, or why it does not import.

    It is asked in a process of its own: a broken build may abort the process, and a good one takes a second and
    hundreds of MB that whoever asks has no other use for.
    """
    answer = run_python(_ASK_TORCH, timeout)
    if answer.error:
        return answer.error
    try:
        return Torch(*json.loads(answer.output.splitlines()[-1]))
    except (ValueError, IndexError, TypeError) as error:
        return f"its answer cannot be read ({error})"


class Answer(NamedTuple):
    """What a Python process of its own printed; ``error``: in one line why it failed, or empty."""

    output: str
    error: str


def run_python(script: str, timeout: float) -> Answer:
    """Run a script with this Python, in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Answer("", f"took more than {timeout:.0f} s: is the disk slow, or the machine busy?")
    if done.returncode == 0:
        return Answer(done.stdout, "")
    lines = done.stderr.strip().splitlines()
    return Answer(done.stdout, lines[-1] if lines else f"ended with exit code {done.returncode}")


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
    parsed = []
    for line in text.splitlines():
        fields = re.fullmatch(r"\s*(.+?), *(\d+), *(\d+)\s*", line)
        if fields:
            parsed.append(Gpu(fields[1], int(fields[2]) * 1024**2, int(fields[3]) * 1024**2))
    return parsed


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

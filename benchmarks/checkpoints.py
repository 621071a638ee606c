"""Size and time of a training checkpoint, compared with RLlib's own of the same algorithm at the same moment.

    python benchmarks/checkpoints.py [--steps 60000] [--rounds 7] [--set agent.dim=128]...

The method a2c in the world of the sample, with its replay filled by ``--steps`` steps. Ours: safetensors and JSON, each
file hashed and flushed to the disk, and verified before it is read. RLlib's: pickles, neither hashed nor flushed. The
two take turns; medians of the rounds.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from ialp_rllib import runtime
from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.agent.rllib.state import restore_training, training_state
from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages.adapt import method_config
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder


def ours(algorithm: IALP, folder: Path) -> tuple[float, float, int]:
    """Seconds to write and to restore a checkpoint, and its bytes."""
    wrote, _ = timed(lambda: Checkpoints(folder, "").save(Checkpoint(training_state(algorithm), {}), 1))

    def restore() -> None:
        found = Checkpoints(folder, "").newest()
        assert found is not None
        restore_training(algorithm, found.checkpoint.state)

    read, _ = timed(restore)
    return wrote, read, size(folder)


def rllibs(algorithm: IALP, folder: Path) -> tuple[float, float, int]:
    """The same of RLlib's checkpoint."""
    wrote, _ = timed(lambda: algorithm.save_to_path(str(folder)))
    read, _ = timed(lambda: algorithm.restore_from_path(str(folder)))
    return wrote, read, size(folder)


def timed(function: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "run"
        settings = load("sample", ["users.sequence.epochs=1", "agent.updates_per_step=1", *arguments.set])
        run = RunFolder(settings, root)
        run_all(run, Progress(), ["prepare", "users"])
        runtime.start(settings.runtime)
        algorithm = build(method_config(settings, run.catalogue, root, "a2c", 0), 0)
        while algorithm.env_steps < arguments.steps:
            algorithm.train()
        results: dict[str, list[tuple[float, float, int]]] = {"ours": [], "RLlib's": []}
        for _ in range(arguments.rounds):
            for kind, measure in (("ours", ours), ("RLlib's", rllibs)):
                results[kind].append(measure(algorithm, Path(name) / "checkpoint"))
                shutil.rmtree(Path(name) / "checkpoint")
        algorithm.stop()
    runtime.stop()
    medians = {
        kind: [statistics.median(column) for column in zip(*rows, strict=True)] for kind, rows in results.items()
    }
    print(f"after {algorithm.env_steps} steps, replay of {len(algorithm.replay)} transitions")  # type: ignore[arg-type]
    print(f"{'':<22}{'ours':>10}{'RLlib':>10}{'ratio':>8}")
    for column, (what, unit) in enumerate((("write, ms", 1e-3), ("verify and restore, ms", 1e-3), ("size, MB", 1e6))):
        left, right = medians["ours"][column] / unit, medians["RLlib's"][column] / unit
        print(f"{what:<22}{left:>10.2f}{right:>10.2f}{left / right:>8.2f}")


if __name__ == "__main__":
    main()

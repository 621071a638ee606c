"""Throughput and peak memory of the preparation of a large log.

    python benchmarks/prepare_log.py [--rows 10000000] [--formats parquet csv] [--memory-mb 800]

Writes a synthetic log (20 interactions per user, 100,000 items, ids as text, rows shuffled) to a temporary folder, runs
`ialp prepare` on it in a subprocess, and reads the prepared catalogue in another one. Prints rows per second and the
peak resident memory of both processes, including imported modules.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import yaml

ITEMS, PER_USER = 100_000, 20


def write_log(folder: Path, rows: int, kind: str) -> None:
    """Write items and interactions: popularity is skewed, and positions are unique for each user."""
    con = duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(folder / "spill")})
    items = f"SELECT 'item-' || range AS item_id, 'Title of number ' || range AS title FROM range({ITEMS})"
    users = max(2, rows // PER_USER)
    share = "(hash(range) % 1000003) / 1000003.0"
    log = (
        f"SELECT 'user-' || (range % {users}) AS user_id, range // {users} AS position, "
        f"'item-' || floor({ITEMS} * {share} * {share})::BIGINT AS item_id, "
        f"(range % 5 + 1)::FLOAT AS rating FROM range({rows})"
    )
    con.execute(f"COPY ({items}) TO '{folder}/items.{kind}'")
    con.execute(f"COPY ({log}) TO '{folder}/interactions.{kind}'")
    con.close()


def run(*command: str) -> tuple[float, float]:
    """Run this Python with these arguments; returns its time in seconds and its peak resident memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--formats", nargs="+", choices=("parquet", "csv"), default=["parquet", "csv"])
    parser.add_argument("--memory-mb", type=int, default=800)
    arguments = parser.parse_args()
    print(f"{arguments.rows:,} rows; catalogue.memory_mb {arguments.memory_mb}")
    print(f"{'format':10}{'file MB':>10}{'prepare s':>12}{'rows/s':>12}{'peak MB':>10}{'read s':>10}{'peak MB':>10}")
    for kind in arguments.formats:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "data"
            folder.mkdir()
            write_log(folder, arguments.rows, kind)
            catalogue = {"data": str(folder), "attributes": ["title"], "memory_mb": arguments.memory_mb}
            scenario = {"scenario": "made_up", "catalogue": catalogue, "agent": {"history": 21, "mask_recent": -1}}
            (Path(temporary) / "made_up.yaml").write_text(yaml.safe_dump(scenario))
            prepare = (
                "-c",
                "from ialp_rllib.cli.main import main; main()",
                "prepare",
                f"{temporary}/made_up.yaml",
                "--out",
            )
            seconds, peak = run(*prepare, f"{temporary}/run")
            read = "import sys; from pathlib import Path; from ialp_rllib.catalogue import read_catalogue; "
            read += "read_catalogue(Path(sys.argv[1]))"
            read_seconds, read_peak = run("-c", read, f"{temporary}/run/prepare")
            size = (folder / f"interactions.{kind}").stat().st_size / 2**20
            print(
                f"{kind:10}{size:>10.0f}{seconds:>12.1f}{arguments.rows / seconds:>12,.0f}{peak:>10.0f}"
                f"{read_seconds:>10.1f}{read_peak:>10.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

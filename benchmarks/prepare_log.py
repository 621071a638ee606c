"""How fast is a large log prepared, and in how much memory?

    python benchmarks/prepare_log.py [--rows 10000000] [--formats parquet csv] [--memory-mb 800]

Writes a made-up log (20 interactions per user, 100,000 items, ids as text, rows shuffled) into a temporary folder, runs
`ialp prepare` on it in a process of its own, then reads the prepared catalogue in another. Prints rows per second and
the peak resident memory of each process, with Python, torch and Ray's modules in it.
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
    """Items and interactions; popular items are much more popular, and no two rows of a user share a position."""
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
    """Seconds and peak resident memory in MB of a process."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--formats", nargs="+", choices=("parquet", "csv"), default=["parquet", "csv"])
    parser.add_argument("--memory-mb", type=int, default=800)
    arguments = parser.parse_args()
    print(f"{arguments.rows:,} rows; catalogue.memory_mb {arguments.memory_mb}")
    print(f"{'format':10}{'file MB':>10}{'prepare s':>12}{'rows/s':>12}{'peak MB':>10}{'read s':>10}{'peak MB':>10}")
    for kind in arguments.formats:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "data"
            folder.mkdir()
            write_log(folder, arguments.rows, kind)
            catalogue = {"data": str(folder), "attributes": ["title"], "memory_mb": arguments.memory_mb}
            scenario = {"scenario": "made_up", "catalogue": catalogue, "agent": {"history": 21, "mask_recent": -1}}
            (Path(place) / "made_up.yaml").write_text(yaml.safe_dump(scenario))
            prepare = (
                "-c",
                "from ialp_rllib.cli.main import main; main()",
                "prepare",
                f"{place}/made_up.yaml",
                "--out",
            )
            seconds, peak = run(*prepare, f"{place}/run")
            read = "import sys; from pathlib import Path; from ialp_rllib.catalogue import read_catalogue; "
            read_seconds, read_peak = run("-c", read + "read_catalogue(Path(sys.argv[1]))", f"{place}/run/prepare")
            size = (folder / f"interactions.{kind}").stat().st_size / 2**20
            print(
                f"{kind:10}{size:>10.0f}{seconds:>12.1f}{arguments.rows / seconds:>12,.0f}{peak:>10.0f}"
                f"{read_seconds:>10.1f}{read_peak:>10.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

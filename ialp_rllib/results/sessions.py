"""Example sessions, ``sessions.parquet`` of a training run: what its greedy policy recommends to a few test users.

:data:`SESSIONS`: one row per recommendation, of the first :data:`EXAMPLES` test episodes of a measurement. The users
are the same for every method and seed of a run.

===========  =======  ==============================================================================
column       type     meaning
===========  =======  ==============================================================================
``epoch``    text     0 (before any online step), or end
``episode``  int32    number of the episode, from 0
``user``     int32    index of the user in the catalogue
``start``    int32    first item of the session, which the world gives
``step``     int32    step of the episode, from 1
``item``     int32    recommended item
``reward``   float64  the user's answer to it
===========  =======  ==============================================================================
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ialp_rllib.results.schemas import read_run_file

EXAMPLES = 8
SESSION_EPOCHS = ("0", "end")
SESSIONS = pa.schema(
    [
        pa.field("epoch", pa.string(), nullable=False),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("episode", "user", "start", "step", "item")),
        pa.field("reward", pa.float64(), nullable=False),
    ]
)


def read_sessions(path: Path) -> pa.Table:
    """``sessions.parquet`` of a training run, in the schema :data:`SESSIONS`.

    Raises:
        InputError: no such file, not Parquet, no rows, a missing column, or a wrong type.
    """
    return read_run_file(path, SESSIONS).select(SESSIONS.names)

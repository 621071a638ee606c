"""What an LLM environment said about a log, ``part-*.parquet`` of stage ``augment``, and how rows of a ranking fared.

:data:`AUGMENTED`: one row per logged item. Row n of the file belongs to row n of the tensor ``states`` in the
safetensors file of the same name, and of ``action_states`` where there is one.

=================  =======  ============================================================================
column             type     meaning
=================  =======  ============================================================================
``set``            text     train, valid or test
``row``            int64    row of the log of this set
``user``           int64    index of the user in the catalogue
``item``           int64    index of the item that the state comes after
``reward``         float32  reward of the user's next item, in (0, 1), 0.5: indifferent; null: none asked for
``action``         int64    augmented action: the item that the environment expects; null: none
``action_reward``  float32  its reward; null: no action
=================  =======  ============================================================================

:data:`CASES`: one row per test case of a row of `ialp lea`, with the rank of the true next item among all items, from
0; ties count half.

=================  =======  ============================================================================
column             type     meaning
=================  =======  ============================================================================
``row``            text     row of the table: snqn-leasr
``seed``           int64    seed of the training
``head``           text     the head that ranks: supervised, q; none: without training
``user``           int64    index of the user in the catalogue
``target``         int64    index of the true next item
``last``           bool     whether it is the user's last item
``rank``           float64  rank among all items
``rank_masked``    float64  rank among the items that the user has not seen
=================  =======  ============================================================================
"""

from __future__ import annotations

import pyarrow as pa


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


AUGMENTED = pa.schema(
    [
        _required("set", pa.string()),
        *(_required(name, pa.int64()) for name in ("row", "user", "item")),
        pa.field("reward", pa.float32()),
        pa.field("action", pa.int64()),
        pa.field("action_reward", pa.float32()),
    ]
)
CASES = pa.schema(
    [
        _required("row", pa.string()),
        _required("seed", pa.int64()),
        _required("head", pa.string()),
        _required("user", pa.int64()),
        _required("target", pa.int64()),
        _required("last", pa.bool_()),
        _required("rank", pa.float64()),
        _required("rank_masked", pa.float64()),
    ]
)

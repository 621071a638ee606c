"""What training runs have in common."""

from __future__ import annotations

from ialp_rllib.stages.training import ORPHAN_SECONDS

GIVES_UP = 60.0  # gcs_rpc_server_reconnect_timeout_s: a worker of Ray that has lost its head; 62 s until it had ended
NFS_LEASE = 90.0  # the lock of a lost node


def test_a_training_run_waits_longer_than_what_it_waits_for_can_take() -> None:
    longest = max(GIVES_UP, NFS_LEASE)
    assert longest * 1.5 <= ORPHAN_SECONDS

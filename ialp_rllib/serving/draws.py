"""Which policy acts in a session of a service with ``alpha.by=session``: drawn once, without any memory.

The draw is a keyed hash of the session's id and the version: every replica gets the same one, as does a request that is
repeated, and nobody outside the service can tell it beforehand. Draws of different versions are independent, so that
what a session has shown under one version tells nothing of what is drawn under another. A session in which the version
is exchanged has exact propensities, therefore: log-odds (:mod:`ialp_rllib.agent.policy.draws`) are kept by version, and
begin at 0 with each.

A caller's id that is used for several sessions has the same draw in all of them.
"""

from __future__ import annotations

import hashlib


def drawn(session: str, version: int, alpha: float, secret: bytes) -> bool:
    """Whether pi_beta acts in a session, of probability ``alpha``.

    Args:
        session: the id that the caller gave.
        version: number of the published version.
        alpha: its weight of pi_beta, in [0, 1].
        secret: of the service, at most 64 bytes.
    """
    data = f"{version}|{session}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=8, key=secret, person=b"ialp-draw").digest()
    return int.from_bytes(digest, "big") / 2**64 < alpha

"""Published versions of pi_beta in a service's folder, and which of them are served: ``current.json``.

``versions/00000007/`` holds ``beta.safetensors`` (the actor, and the critic to learn on from) and ``version.json``
(alpha, size and SHA-256, facts). A version never changes; ``current.json`` is replaced as a whole. Version 0 is
pi_theta alone, and has no folder.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.serving.policy import THETA_ALONE, Served, ServingPolicy, Version, load_version
from ialp_rllib.storage import damaged_files, file_records, flush, locked, read_json, write_json
from ialp_rllib.storage.tensors import read_tensors

log = logging.getLogger(__name__)

BETA, VERSION, CURRENT = "beta.safetensors", "version.json", "current.json"
_FIELDS = ("number", "alpha", "time", "facts", "files")
_EXPECTED = "which versions are served; delete the file to serve pi_theta alone, or use `ialp promote`"


class Current(NamedTuple):
    """Which versions are served.

    Attributes:
        promoted: number of the version for all; 0: pi_theta alone.
        canary: number of the one that is tried; None: none is.
        before: the version that was promoted before, to go back to.
        reason: why it became so, in words.
        time: when, in seconds.
    """

    promoted: int = 0
    canary: int | None = None
    before: int = 0
    reason: str = ""
    time: float = 0.0


class Versions:
    """The versions in the folder of a service."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "versions"

    def current(self) -> Current:
        """Which versions are served; at the beginning pi_theta alone.

        Raises:
            InputError: ``current.json`` is damaged.
        """
        path = self.root / CURRENT
        if not path.is_file():
            return Current()
        data = read_json(path, Current._fields, _EXPECTED)
        found = Current(**{name: data[name] for name in Current._fields})
        numbers = (found.promoted, found.before, 0 if found.canary is None else found.canary)
        times = type(found.time) in (int, float)
        if not (all(type(n) is int and n >= 0 for n in numbers) and isinstance(found.reason, str) and times):
            raise InputError(str(path), "is damaged (it names no versions)", _EXPECTED)
        return found

    def publish(self, weights: Mapping[str, Tensor], alpha: float, facts: Mapping[str, Any], now: float = 0.0) -> int:
        """Leave a version in the folder; it is not served yet. Returns its number.

        Args:
            weights, alpha, facts: what ``version.json`` and ``beta.safetensors`` hold.
            now: the present time in seconds; 0: by the system's clock.

        Raises:
            ValueError: a weight is not finite.
            InputError: the folder cannot be written to.
        """
        for name, value in weights.items():
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} holds values that are not finite")
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            number = 1 + max(self.numbers(), default=0)
            temporary = self.folder / f".{number:08d}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            save_file({name: value.detach().contiguous() for name, value in weights.items()}, temporary / BETA)
            data = {"number": number, "alpha": alpha, "time": now or time.time(), "facts": dict(facts)}
            write_json(temporary / VERSION, {**data, "files": file_records(temporary, [BETA])})
            for path in (temporary / BETA, temporary):
                flush(path)
            temporary.rename(self.folder / f"{number:08d}")
            flush(self.folder)
        return number

    def serve(self, current: Current, *, instead_of: Current | None = None) -> bool:
        """Change which versions are served.

        Args:
            instead_of: what is served now, as the caller decided by; None: whatever it is.

        Returns:
            False: something else is served than ``instead_of``, and goes on to be.

        Raises:
            InputError: there is no such version.
        """
        for number in (current.promoted, current.canary or 0, current.before):
            if number:
                self.describe(number)
        with locked(self.folder, seconds=10.0):
            if instead_of is not None and self.current() != instead_of:
                return False
            write_json(self.root / CURRENT, current._asdict())
        return True

    def numbers(self) -> list[int]:
        """Numbers of the published versions, oldest first."""
        names = [path.name for path in self.folder.glob("*") if path.name.isdecimal()] if self.folder.is_dir() else []
        return sorted(map(int, names))

    def describe(self, number: int) -> dict[str, Any]:
        """What ``version.json`` says.

        Raises:
            InputError: there is no such version, or it is damaged.
        """
        path = self.folder / f"{number:08d}" / VERSION
        if not path.is_file():
            known = ", ".join(map(str, self.numbers()[-5:])) or "none yet"
            raise InputError(f"version {number}", "was not published", f"one of the latest: {known}")
        data: dict[str, Any] = read_json(path, _FIELDS)
        return data

    def weights(self, number: int) -> dict[str, Tensor]:
        """The tensors of a version.

        Raises:
            InputError: there is no such version, or it is damaged.
        """
        data, folder = self.describe(number), self.folder / f"{number:08d}"
        for path, problem in damaged_files(folder, data["files"]):
            raise InputError(str(path), problem, "the file as it was published; roll back to another version")
        return read_tensors(folder / BETA, expected="a published version; roll back to another one")

    def load(self, number: int, network: NetworkConfig) -> Version:
        """A version to act with.

        Raises:
            InputError: there is no such version, it is damaged, not finite, or of another network.
        """
        if number == 0:
            return THETA_ALONE
        try:
            return load_version(number, float(self.describe(number)["alpha"]), self.weights(number), network)
        except (ValueError, RuntimeError) as error:
            problem = f"cannot be served ({' '.join(str(error).split())[:200]})"
            raise InputError(
                f"version {number}", problem, "finite weights of the exported policy's networks"
            ) from error


class Watcher:
    """Lets a serving policy follow ``current.json``; a version that cannot be served is refused and the old one kept.

    Attributes:
        current: what is served.
        refused: why a version was refused, in words; empty: none was.
    """

    def __init__(self, versions: Versions, policy: ServingPolicy) -> None:
        self.versions, self.policy = versions, policy
        self.current, self.refused = Current(), ""

    def refresh(self) -> bool:
        """Look for a change; returns whether there was one."""
        try:
            wanted = self.versions.current()
        except InputError as error:
            self._refuse(error)
            return False
        if wanted == self.current:
            return False
        known = {version.number: version for version in self.policy.served if version is not None}
        try:
            promoted, canary = (
                known.get(number) or self.policy.prepared(self.versions.load(number, self.policy.network))
                for number in (wanted.promoted, wanted.canary or 0)
            )
        except InputError as error:
            self._refuse(error)
            return False
        self.policy.swap(Served(promoted, canary if wanted.canary else None))
        self.current, self.refused = wanted, ""
        return True

    def _refuse(self, error: InputError) -> None:
        text = f"{error.where}: {error.problem}"
        if text != self.refused:
            log.warning("%s; serving on what was served before", text)
        self.refused = text

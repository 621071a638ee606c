"""The folder of a service: what it serves, with which settings, and where its parts lie."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.serving.artifact import Artifact, read_artifact
from ialp_rllib.settings.serving import ServingSettings
from ialp_rllib.storage import read_json, write_atomic, write_json
from ialp_rllib.storage.files import require_file

SERVICE, SECRET, STATUS, PAGE = "service.json", "secret", "status.json", "index.html"
_SECRET_BYTES = 32


@dataclass(frozen=True)
class ServiceFolder:
    """A service.

    Attributes:
        root: its folder.
        artifact: the exported policy.
        settings: of the service.
    """

    root: Path
    artifact: Artifact
    settings: ServingSettings

    @property
    def decisions(self) -> Path:
        """Folder of the log of decisions."""
        return self.root / "log" / "decisions"

    @property
    def feedback(self) -> Path:
        """Folder of the log of feedback."""
        return self.root / "log" / "feedback"

    @property
    def sealed(self) -> Path:
        """Folder of the joined log, Parquet in the schema of :mod:`ialp_rllib.results.logged`."""
        return self.root / "log" / "sealed"

    @property
    def learner(self) -> Path:
        """Folder of the learner's checkpoints."""
        return self.root / "learner"

    def secret(self) -> bytes:
        """What decisions are signed with; only this user may read it.

        Raises:
            InputError: it is missing or damaged.
        """
        path, expected = self.root / SECRET, "what `ialp serve` wrote; without it feedback on older decisions is lost"
        require_file(path, "a secret", expected)
        try:
            secret = bytes.fromhex(path.read_text("ascii"))
        except (OSError, ValueError) as error:
            raise InputError(str(path), "cannot be read", expected) from error
        if len(secret) != _SECRET_BYTES:  # an empty one would sign whatever anybody makes up
            raise InputError(str(path), f"holds {len(secret)} bytes", expected)
        return secret

    def token(self) -> str:
        """The bearer token that requests must carry; empty: none is asked for.

        Raises:
            InputError: the file of the token cannot be read, or is empty.
        """
        name = self.settings.http.token_file
        if not name:
            return ""
        try:
            token = Path(name).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("http.token_file", f"{name} cannot be read", "a file with the token") from error
        if len(token) < 16:
            raise InputError("http.token_file", f"{name} holds {len(token)} characters", "a token of 16 or more")
        return token


def create_service(root: Path, artifact: Artifact, overrides: Sequence[str] = ()) -> ServiceFolder:
    """A service in a new folder, or the one that is there, with other settings.

    Raises:
        InputError: the folder is of another policy, or a setting is invalid.
    """
    settings = artifact.settings(overrides)
    if name := settings.http.token_file:  # replicas work in folders of their own
        overrides = [*overrides, f"http.token_file={json.dumps(str(Path(name).expanduser().resolve()))}"]
        settings = artifact.settings(overrides)
    if settings.by_session:
        _require_draws(artifact)
    path = root / SERVICE
    if path.is_file():
        known = read_json(path, ("artifact", "fingerprint", "overrides"))
        if known["fingerprint"] != artifact.fingerprint or known["method"] != artifact.method:
            problem = f"serves another policy, that of {known['artifact']}"
            raise InputError(str(root), problem, "a folder of its own for each policy: --out DIR")
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        data = {
            "artifact": str(artifact.folder),
            "method": artifact.method,
            "fingerprint": artifact.fingerprint,
            "overrides": list(overrides),
        }
        write_json(path, data)
    if not (root / SECRET).is_file():
        write_atomic(root / SECRET, _make_secret)
    return ServiceFolder(root, artifact, settings)


def _require_draws(artifact: Artifact) -> None:
    """Refuse ``alpha.by=session`` where not all items have a probability by both policies."""
    problem = ""
    if artifact.retrieval is not None:
        problem = "is session, which needs probabilities of all items, and the policy acts on candidates"
    elif artifact.agent.exploration != "categorical":
        problem = f"is session, and the policy does not draw its items (agent.exploration={artifact.agent.exploration})"
    if problem:
        raise InputError("alpha.by", problem, "step (--set alpha.by=step)")


def _make_secret(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(_SECRET_BYTES))


def open_service(root: str | Path) -> ServiceFolder:
    """The service in a folder.

    Raises:
        InputError: there is none, or its policy is missing or damaged.
    """
    root = Path(root).expanduser().resolve()
    if not (root / SERVICE).is_file():
        raise InputError(str(root), f"is no service (it has no {SERVICE})", "the folder that `ialp serve` made")
    data = read_json(root / SERVICE, ("artifact", "overrides"))
    artifact = read_artifact(data["artifact"])
    return ServiceFolder(root, artifact, artifact.settings(data["overrides"]))

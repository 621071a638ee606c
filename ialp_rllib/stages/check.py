"""Whether a run's folder still holds what the run wrote: every file against the hash in its manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from ialp_rllib.stages.run import SETTINGS, needed_stages
from ialp_rllib.storage import LOCK, MANIFEST, STARTED, damaged_files, read_manifest

LOGS = "logs"  # TensorBoard's files, which grow while a run works: no result is read from them


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written.

    Attributes:
        file: the file.
        problem: what is wrong with it.
        folder: what to delete, so that the stage is run again.
    """

    file: Path
    problem: str
    folder: Path


@dataclass
class Inspection:
    """What a check of a folder found.

    Attributes:
        files: number of the files that were compared with their hashes.
        size: their bytes.
        damages: what is not as it was written, by file.
        unfinished: folders of stages that were started and not finished.
        missing: names of stages that the run's settings need and that are not there.
        unlisted: files that no finished stage lists.
    """

    files: int = 0
    size: int = 0
    damages: dict[Path, Damage] = field(default_factory=dict)
    unfinished: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unlisted: list[Path] = field(default_factory=list)


def inspect(root: Path) -> Inspection:
    """Compare all files of a run, or of several runs below one folder, with their manifests.

    Raises:
        InputError: there is no such folder, or it holds no run.
    """
    if not root.is_dir():
        raise InputError(str(root), "no such folder", "the folder of a run: runs/SCENARIO, or what --out named")
    inspection = Inspection()
    folders = sorted({path.parent for name in (MANIFEST, STARTED) for path in root.rglob(name)})
    if not folders:
        raise InputError(str(root), "holds no run (no manifest)", "the folder that `ialp run` or `ialp compare` left")
    inspection.unfinished = [folder for folder in folders if (folder / STARTED).is_file()]
    listed: set[Path] = set()
    for folder in folders:
        listed |= _inspect_folder(folder, inspection)
    if (root / SETTINGS).is_file() and root / SETTINGS not in inspection.damages:
        # The folder of a call of `ialp lea` alone holds none of the stages of `ialp run`.
        last = "ranking" if (root / "recommend").is_dir() and not (root / "users").is_dir() else "report"
        stages = needed_stages(load(str(root / SETTINGS), allow_plugins=None), last)
        inspection.missing = [name for name in stages if not (root / name / MANIFEST).is_file()]
    skipped = {*inspection.unfinished, *(damage.folder for damage in inspection.damages.values())}
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name != LOCK):
        if path not in listed and LOGS not in path.parts and skipped.isdisjoint(path.parents):
            inspection.unlisted.append(path)
    return inspection


def _inspect_folder(folder: Path, inspection: Inspection) -> set[Path]:
    """Check what the manifest of a folder lists; returns these files, and the manifest.

    The parts of a stage lie below it, and both list their files: it is the part's own folder that is to be deleted.
    Parts come after their stage in sorted order.
    """
    path = folder / MANIFEST
    try:
        manifest = read_manifest(folder)
    except InputError as error:
        inspection.damages[path] = Damage(path, error.problem, folder)
        return {path}
    if manifest is None:
        return set()
    records = manifest["files"]
    for file, problem in damaged_files(folder, records):
        inspection.damages[file] = Damage(file, problem, folder)
    inspection.files += len(records)
    inspection.size += sum(record["bytes"] for record in records.values())
    return {path, *(folder / name for name in records)}

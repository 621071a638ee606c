"""From files on disk to a checked :class:`Catalogue`: one reader per kind of source."""

from __future__ import annotations

from pathlib import Path

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.catalogue.packaged import package_data
from ialp_rllib.catalogue.problems import Findings, clip
from ialp_rllib.catalogue.sources import amazon, coat, files, lfm
from ialp_rllib.catalogue.tables.build import assemble, index_log
from ialp_rllib.catalogue.tables.duck import engine
from ialp_rllib.catalogue.tables.oddities import report_oddities
from ialp_rllib.catalogue.tables.readers import check_exists
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings

_LOADERS = {"files": files.load, "lfm": lfm.load, "amazon": amazon.load}


def read_source(settings: CatalogueSettings, work: Path | None = None) -> Catalogue:
    """Read and check the data that ``settings`` name.

    Args:
        work: folder for what does not fit in memory, removed afterwards; None: a temporary one.

    Raises:
        InputError: the folder or a file is missing, or a table is broken; names file, row and field.
    """
    catalogue = examine(settings, Findings(), work)
    assert catalogue is not None  # the findings of a reader that does not gather are raised
    return catalogue


def examine(settings: CatalogueSettings, findings: Findings, work: Path | None = None) -> Catalogue | None:
    """Read the data and report what is wrong with them. None where that was too much for a catalogue."""
    folder = data_folder(settings.data)
    if settings.source == "coat":
        return coat.read(folder, settings, findings)
    with engine(settings.memory_mb, settings.threads, work) as con:
        catalogue, loaded = None, _LOADERS[settings.source](con, folder, settings, findings)
        if loaded is not None:
            index_log(con, loaded, findings)
            if not findings.failed:
                with findings.going_on():
                    catalogue = assemble(con, loaded, settings)
        if findings.gather:
            report_oddities(con, loaded, settings, findings)
        return catalogue


def source_files(settings: CatalogueSettings) -> list[Path]:
    """The files that the source reads, in a fixed order; all within the data folder.

    Raises:
        InputError: the folder or a file is missing.
    """
    folder = data_folder(settings.data)
    if settings.source == "files":
        paths = list(files.locate(folder, settings).values())
    else:
        paths = {"coat": coat.files, "lfm": lfm.files, "amazon": amazon.files}[settings.source](folder)
    for path in paths:
        check_exists(path)
    return paths


def data_folder(name: str) -> Path:
    """A data folder: a path, or ``package:NAME`` for data that ships with the package."""
    expected = "the folder that holds the data: catalogue.data, or --data DIR"
    if not name:
        raise InputError("catalogue.data", "is empty", expected)
    try:
        folder = package_data(name.removeprefix("package:")) if name.startswith("package:") else Path(name).expanduser()
        if folder.is_dir():
            return folder
    except (OSError, RuntimeError) as error:  # a name that is too long; ~ of a user who is not here
        raise InputError(clip(name), f"is no folder ({clip(str(error))})", expected) from error
    raise InputError(str(folder), "no such folder", expected)

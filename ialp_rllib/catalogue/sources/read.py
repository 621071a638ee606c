"""Reads and checks the data of a scenario; one reader per source."""

from __future__ import annotations

from pathlib import Path

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.catalogue.packaged import package_data
from ialp_rllib.catalogue.problems import Findings, clip
from ialp_rllib.catalogue.sources import amazon, coat, files, lfm
from ialp_rllib.catalogue.tables.build import assemble, index_log
from ialp_rllib.catalogue.tables.duck import engine
from ialp_rllib.catalogue.tables.quality import report_warnings
from ialp_rllib.catalogue.tables.readers import check_exists
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings

_LOADERS = {"files": files.load, "lfm": lfm.load, "amazon": amazon.load}


def read_source(settings: CatalogueSettings, work: Path | None = None) -> Catalogue:
    """Read and check the data of a scenario.

    Args:
        work: folder for data that exceed the memory limit, removed afterwards; None: a temporary folder.

    Raises:
        InputError: the folder or a file is missing, or the data are invalid; it names file, row and field.
    """
    catalogue = read_and_check(settings, Findings(), work)
    assert catalogue is not None  # findings that are not collected are raised
    return catalogue


def read_and_check(settings: CatalogueSettings, findings: Findings, work: Path | None = None) -> Catalogue | None:
    """Read the data and report their problems to ``findings``.

    Returns:
        The catalogue, or None if the problems prevent one.

    Raises:
        InputError: as :func:`read_source`, unless ``findings`` collects the problems.
    """
    folder = data_folder(settings.data)
    check_source(settings)
    if settings.source == "coat":
        return coat.read(folder, settings, findings)
    with engine(settings.memory_mb, settings.threads, work) as con:
        catalogue, loaded = None, _LOADERS[settings.source](con, folder, settings, findings)
        if loaded is not None:
            index_log(con, loaded, settings.filters, findings)
            if not findings.failed:
                with findings.collect_errors():
                    catalogue = assemble(con, loaded, settings)
        if findings.collect:
            report_warnings(con, loaded, settings, catalogue, findings)
        return catalogue


def check_source(settings: CatalogueSettings) -> None:
    """Check that nothing is set that the source would not heed.

    Raises:
        InputError: something is.
    """
    if settings.source == "files":
        return
    plain = CatalogueSettings()
    fixed = ["items", "interactions", "users"]
    fixed += ["clean_html", "missing_texts", "filters"] if settings.source == "coat" else ["user_attributes"]
    for name in fixed:
        if getattr(settings, name) != getattr(plain, name):
            expected = f"not set: the files and columns of the source {settings.source} are fixed"
            raise InputError(f"catalogue.{name}", f"has no effect on the source {settings.source}", expected)
    filters, dropping = settings.filters, ("drop_unknown_items", "drop_unknown_users")
    without = [*dropping, *(["min_rating"] if settings.source == "lfm" else [])]
    for name in without:
        if getattr(filters, name):
            problem = f"has no effect on the source {settings.source}, which has no such column or table"
            raise InputError(f"catalogue.filters.{name}", problem, "not set")


def source_files(settings: CatalogueSettings) -> list[Path]:
    """The files that the source reads, in a fixed order; all are in the data folder.

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
    """The data folder of a setting: a path, or ``package:NAME`` for data that ship with the package.

    Raises:
        InputError: there is no such folder.
    """
    expected = "the folder of the data: catalogue.data, or --data DIR"
    if not name:
        raise InputError("catalogue.data", "is empty", expected)
    try:
        folder = package_data(name.removeprefix("package:")) if name.startswith("package:") else Path(name).expanduser()
        if folder.is_dir():
            return folder
    except (OSError, RuntimeError) as error:  # as for a name that is too long, or ~ of an unknown user
        raise InputError(clip(name), f"is not a folder ({clip(str(error))})", expected) from error
    raise InputError(str(folder), "no such folder", expected)

"""A synthetic Coat archive, and downloads of it from the test server."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from ialp_rllib.catalogue.download import datasets
from ialp_rllib.catalogue.download.datasets import DataSet
from ialp_rllib.catalogue.download.fetch import Options, download
from tests.catalogue.download.file_server import Files

NOISE = np.random.default_rng(0).bytes(300_000)  # incompressible: the archive has the same size
COAT = {f"coat/{name}": NOISE[:1000] for name in datasets.COAT.files[0].holds} | {"coat/noise": NOISE}


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in members.items():
            archive.writestr(zipfile.ZipInfo(name), contents)
    return buffer.getvalue()


def fetch(files: Files, folder: Path, chosen: DataSet = datasets.COAT, **options: object) -> dict[str, str]:
    given = {"url": files.url, "timeout": 60.0} | options
    return download(chosen, folder, Options(**given), lambda *_: None)


def sha(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()

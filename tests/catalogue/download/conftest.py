"""Fixture of the download tests: a server with the synthetic Coat archive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.catalogue.download.archive import COAT, zipped
from tests.catalogue.download.file_server import Files, serve


@pytest.fixture
def server() -> Iterator[Files]:
    with serve() as files:
        files.contents["/coat.zip"] = (zipped(COAT), '"one"')
        yield files

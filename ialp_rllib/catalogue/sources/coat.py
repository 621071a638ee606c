"""Source ``coat``: Coat (Schnabel et al. 2016), ratings of 300 coats by 290 users.

Each user has 24 self-selected ratings (``split`` 0) and 16 ratings of uniformly drawn items (``split`` 1). Reads the
ASCII files of the original archive. The completed rating matrix, used as the true reward, is not part of the archive;
if ``pseudo_ground_truth/coat_pseudoGT_ratingM.ascii`` is missing, a matrix factorisation is fitted to all ratings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.catalogue.problems import Findings, Problem
from ialp_rllib.catalogue.sources.completion import complete
from ialp_rllib.catalogue.split import cold_items, hidden_users, split_users
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings

_FEATURES, PROPENSITIES = "user_item_features", "propensities.ascii"
TRUTH = "pseudo_ground_truth/coat_pseudoGT_ratingM.ascii"
FITTED_TRUTH = (
    f"{TRUTH} is not in the data folder (it is not part of the original archive): the true rewards are those of a "
    "matrix factorisation fitted to all ratings, so returns cannot be compared with published ones."
)
_ARCHIVE = "the files of the original Coat archive"


def files(folder: Path) -> list[Path]:
    """The files that are read; optional ones only if they exist."""
    names = ["train.ascii", "test.ascii"]
    names += [f"{_FEATURES}/{kind}_features{ending}" for kind in ("item", "user") for ending in (".ascii", "_map.txt")]
    return [folder / n for n in names] + [folder / n for n in (PROPENSITIES, TRUTH) if (folder / n).is_file()]


def read(folder: Path, settings: CatalogueSettings, findings: Findings) -> Catalogue | None:
    """Read the archive in ``folder``. None if its files are invalid (the problems have been reported).

    Raises:
        InputError: a file is missing, a row has a wrong number of fields or a value that is not a rating, and
            ``findings`` does not collect.
    """
    matrices: dict[str, np.ndarray] = {}
    shape = None
    for name in ("train.ascii", "test.ascii", PROPENSITIES, TRUTH):
        with findings.collect_errors():
            if name in (PROPENSITIES, TRUTH) and not (folder / name).is_file():
                continue
            matrices[name] = _matrix(folder / name, shape)
            shape = shape or matrices[name].shape
            if name in ("train.ascii", "test.ascii"):
                _check_ratings(folder / name, matrices[name], findings)
    texts: dict[str, dict[str, np.ndarray]] = {}
    for kind, axis in (("item", 1), ("user", 0)):
        with findings.collect_errors():
            texts[kind] = _attributes(folder / _FEATURES / f"{kind}_features", shape[axis] if shape else None)
    for kind, wanted in (("item", settings.attributes), ("user", settings.user_attributes)):
        with findings.collect_errors():
            texts[kind] = _wanted(texts.get(kind, {}), wanted, f"catalogue.{'user_' * (kind == 'user')}attributes")
    if findings.failed:
        return None
    train, test = matrices["train.ascii"], matrices["test.ascii"]
    n_users, n_items = train.shape
    user, item, rating, split = _interactions(train, test)
    users = split_users(n_users, settings)
    notes: tuple[str, ...] = ()
    if TRUTH in matrices:
        truth = matrices[TRUTH].astype(np.float32)
    else:
        truth = complete(user, item, rating, n_users, n_items)
        notes = (FITTED_TRUTH,)
    return Catalogue(
        item_ids=np.array([f"coat-{i:03d}" for i in range(n_items)], object),
        item_texts=texts["item"],
        user_ids=np.array([f"user-{u:03d}" for u in range(n_users)], object),
        user_texts=texts["user"],
        user=user,
        item=item,
        rating=rating,
        split=split,
        test_users=users.test,
        valid_users=users.valid,
        hidden_users=hidden_users(users.train, user[split == 0], settings),
        cold_items=cold_items(n_items, settings),
        truth=truth,
        propensities=matrices[PROPENSITIES].astype(np.float32) if PROPENSITIES in matrices else None,
        notes=notes,
    )


def _wanted(texts: dict[str, np.ndarray], wanted: tuple[str, ...], setting: str) -> dict[str, np.ndarray]:
    """The attributes that the settings name, in this order; all of them if they name none."""
    for name in wanted if texts else ():
        if name not in texts:
            raise InputError(setting, f"{name!r} is not in Coat", f"one of {', '.join(texts)}")
    return {name: texts[name] for name in wanted if name in texts} or texts


def _check_ratings(path: Path, ratings: np.ndarray, findings: Findings) -> None:
    bad = (ratings < 0) | (ratings > 5) | (ratings != np.round(ratings))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        where = f"{path}, row {row + 1}, field {column + 1}"
        problem = f"{ratings[row, column]} is not a rating"
        findings.add(Problem(where, problem, "0 (unobserved) or 1 to 5", int(bad.any(1).sum())))


def _interactions(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, ...]:
    """(user, item, rating, split) of all ratings, each ``(M,)``, by user, self-selected first. Coat has no times."""
    rows = []
    for split, ratings in enumerate((train, test)):
        user, item = np.nonzero(ratings)
        rows.append(np.stack([user, item, ratings[user, item], np.full(len(user), split)]))
    user, item, rating, split = np.concatenate(rows, axis=1)
    order = np.argsort(user, kind="stable")
    types = (np.int32, np.int32, np.float32, np.int8)
    return tuple(c[order].astype(t) for c, t in zip((user, item, rating, split), types, strict=True))


def _matrix(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read a matrix of numbers in ASCII, one row per line, fields separated by white space.

    Args:
        shape: the required shape; None: any.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if rows and len(fields) != len(rows[0]):
            raise InputError(f"{path}, row {number}", f"has {len(fields)} fields", f"{len(rows[0])} as in row 1")
        try:
            rows.append([float(f) for f in fields])
        except ValueError as error:
            raise InputError(f"{path}, row {number}", str(error), "numbers separated by spaces") from error
    matrix = np.array(rows)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError(str(path), "has no rows", "a matrix of numbers")
    if shape is not None and matrix.shape != shape:
        raise InputError(str(path), f"has the shape {matrix.shape}", f"{shape}, as train.ascii")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(f"{path}, row {row + 1}, field {column + 1}", "is not a number", "a finite number")
    return matrix


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(str(path), "no such file", _ARCHIVE)
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(str(path), "the text is not UTF-8", "ASCII") from error


def _attributes(stem: Path, n_rows: int | None) -> dict[str, np.ndarray]:
    """Attribute texts from one-hot columns: ``STEM_map.txt`` names the columns of ``STEM.ascii`` ``attribute:value``.

    Args:
        n_rows: the required number of rows; None: any.
    """
    names_file, path = stem.parent / f"{stem.name}_map.txt", stem.with_suffix(".ascii")
    pairs = [line.strip().split(":", 1) for line in _lines(names_file) if line.strip()]
    if any(len(pair) < 2 for pair in pairs):
        row = next(n for n, pair in enumerate(pairs, 1) if len(pair) < 2)
        raise InputError(f"{names_file}, row {row}", "has no colon", "attribute:value")
    onehot = _matrix(path)
    expected = (n_rows or len(onehot), len(pairs))
    if onehot.shape != expected:
        raise InputError(
            str(path), f"has the shape {onehot.shape}", f"{expected}, as train.ascii and {names_file.name} give"
        )
    texts = {}
    for name in dict.fromkeys(pair[0] for pair in pairs):
        columns = [i for i, pair in enumerate(pairs) if pair[0] == name]
        values = np.array([pairs[i][1] for i in columns], object)
        bad = (onehot[:, columns].sum(1) != 1) | ~np.isin(onehot[:, columns], (0, 1)).all(1)
        if bad.any():
            row = int(np.argmax(bad)) + 1
            raise InputError(f"{path}, row {row}, field {name!r}", "does not have exactly one value")
        texts[name] = values[onehot[:, columns].argmax(1)]
    return texts

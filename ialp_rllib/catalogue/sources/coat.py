"""Coat (Schnabel et al. 2016): 290 users rate 300 coats; 24 self-selected and 16 uniformly drawn ratings each.

Reads the original archive's ASCII files. The completed rating matrix that serves as the true reward is not part of the
original archive; where ``pseudo_ground_truth/coat_pseudoGT_ratingM.ascii`` is missing, one is fitted from all ratings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue, split_users
from ialp_rllib.catalogue.problems import Findings, Problem
from ialp_rllib.catalogue.sources.completion import complete
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings

_FEATURES, PROPENSITIES = "user_item_features", "propensities.ascii"
TRUTH = "pseudo_ground_truth/coat_pseudoGT_ratingM.ascii"
FITTED_TRUTH = (
    f"{TRUTH} is not in the data folder (it is not part of the original archive): the true rewards are a matrix "
    "factorisation fitted to all ratings, so returns cannot be compared with published ones."
)


def files(folder: Path) -> list[Path]:
    """The files that are read; those that need not be there only where they are."""
    names = ["train.ascii", "test.ascii"]
    names += [f"{_FEATURES}/{kind}_features{ending}" for kind in ("item", "user") for ending in (".ascii", "_map.txt")]
    return [folder / n for n in names] + [folder / n for n in (PROPENSITIES, TRUTH) if (folder / n).is_file()]


def read(folder: Path, settings: CatalogueSettings, findings: Findings) -> Catalogue | None:
    """Read the archive in ``folder``. None where its files are broken (what is wrong has been reported).

    Raises:
        InputError: a file is missing, or a row has a wrong number of fields or a value that is not a rating.
    """
    read: dict[str, np.ndarray] = {}
    shape = None
    for name in ("train.ascii", "test.ascii", PROPENSITIES, TRUTH):
        with findings.going_on():
            if name in (PROPENSITIES, TRUTH) and not (folder / name).is_file():
                continue
            read[name] = _matrix(folder / name, shape)
            shape = shape or read[name].shape
            if name in ("train.ascii", "test.ascii"):
                _check_ratings(folder / name, read[name], findings)
    texts: dict[str, dict[str, np.ndarray]] = {}
    for kind, axis in (("item", 1), ("user", 0)):
        with findings.going_on():
            texts[kind] = _attributes(folder / _FEATURES / f"{kind}_features", shape[axis] if shape else None)
    if findings.failed:
        return None
    train, test = read["train.ascii"], read["test.ascii"]
    n_users, n_items = train.shape
    user, item, rating, split = _interactions(train, test)
    notes: tuple[str, ...] = ()
    if TRUTH in read:
        truth = read[TRUTH].astype(np.float32)
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
        test_users=split_users(n_users, settings),
        truth=truth,
        propensities=read[PROPENSITIES].astype(np.float32) if PROPENSITIES in read else None,
        notes=notes,
    )


def _check_ratings(path: Path, ratings: np.ndarray, findings: Findings) -> None:
    bad = (ratings < 0) | (ratings > 5) | (ratings != np.round(ratings))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        where = f"{path}, row {row + 1}, field {column + 1}"
        problem = f"{ratings[row, column]} is not a rating"
        findings.add(Problem(where, problem, "0 (unobserved) or 1 to 5", int(bad.any(1).sum())))


def _interactions(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, ...]:
    """(user, item, rating, split) of all ratings, by user, self-selected ones first. Coat has no times."""
    rows = []
    for split, ratings in enumerate((train, test)):
        user, item = np.nonzero(ratings)
        rows.append(np.stack([user, item, ratings[user, item], np.full(len(user), split)]))
    user, item, rating, split = np.concatenate(rows, axis=1)
    order = np.argsort(user, kind="stable")
    types = (np.int32, np.int32, np.float32, np.int8)
    return tuple(c[order].astype(t) for c, t in zip((user, item, rating, split), types, strict=True))


def _matrix(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A matrix of numbers in ASCII, one row a line."""
    if not path.is_file():
        raise InputError(str(path), "no such file", "the files of the original Coat archive")
    rows: list[list[float]] = []
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if rows and len(fields) != len(rows[0]):
            raise InputError(f"{path}, row {number}", f"has {len(fields)} fields", f"{len(rows[0])} as in row 1")
        try:
            rows.append([float(f) for f in fields])
        except ValueError as error:
            raise InputError(f"{path}, row {number}", str(error), "numbers separated by blanks") from error
    matrix = np.array(rows)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError(str(path), "holds no rows", "a matrix of numbers")
    if shape is not None and matrix.shape != shape:
        raise InputError(str(path), f"has {matrix.shape} rows and columns", f"{shape} as in train.ascii")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(f"{path}, row {row + 1}, field {column + 1}", "is not a number", "a finite number")
    return matrix


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(str(path), "the text is not UTF-8", "ASCII") from error


def _attributes(stem: Path, n_rows: int | None) -> dict[str, np.ndarray]:
    """One-hot blocks back to texts: the columns of ``STEM.ascii`` are named ``attribute:value`` in ``STEM_map.txt``."""
    names_file = stem.parent / f"{stem.name}_map.txt"
    if not names_file.is_file():
        raise InputError(str(names_file), "no such file", "the files of the original Coat archive")
    pairs = [line.strip().split(":", 1) for line in _lines(names_file) if line.strip()]
    if any(len(pair) < 2 for pair in pairs):
        row = next(n for n, pair in enumerate(pairs, 1) if len(pair) < 2)
        raise InputError(f"{names_file}, row {row}", "holds no colon", "attribute:value")
    onehot = _matrix(stem.with_suffix(".ascii"))
    expected = (n_rows or len(onehot), len(pairs))
    if onehot.shape != expected:
        file = stem.with_suffix(".ascii")
        raise InputError(
            str(file), f"has {onehot.shape} rows and columns", f"{expected}, as train.ascii and the map say"
        )
    texts = {}
    for name in dict.fromkeys(pair[0] for pair in pairs):
        columns = [i for i, pair in enumerate(pairs) if pair[0] == name]
        values = np.array([pairs[i][1] for i in columns], object)
        bad = (onehot[:, columns].sum(1) != 1) | ~np.isin(onehot[:, columns], (0, 1)).all(1)
        if bad.any():
            row = int(np.argmax(bad)) + 1
            raise InputError(f"{stem.with_suffix('.ascii')}, row {row}, field {name!r}", "has not exactly one value")
        texts[name] = values[onehot[:, columns].argmax(1)]
    return texts

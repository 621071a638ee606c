"""Coat (Schnabel et al. 2016): 290 users rate 300 coats; 24 self-selected and 16 uniformly drawn ratings each.

Reads the original archive's ASCII files. The completed rating matrix that serves as the true reward is not part of the
original archive; where ``pseudo_ground_truth/coat_pseudoGT_ratingM.ascii`` is missing, one is fitted from all ratings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue, split_users
from ialp_rllib.catalogue.completion import complete
from ialp_rllib.errors import InputError

TRUTH = "pseudo_ground_truth/coat_pseudoGT_ratingM.ascii"
FITTED_TRUTH = (
    f"{TRUTH} is not in the data folder (it is not part of the original archive): the true rewards are a matrix "
    "factorisation fitted to all ratings, so returns cannot be compared with published ones."
)


def read(folder: Path, test_share: float, split_seed: int) -> Catalogue:
    """Read the archive in ``folder``.

    Raises:
        InputError: a file is missing, or a row has a wrong number of fields or a value that is not a rating.
    """
    train = _matrix(folder / "train.ascii")
    test = _matrix(folder / "test.ascii", train.shape)
    for name, ratings in (("train.ascii", train), ("test.ascii", test)):
        bad = (ratings < 0) | (ratings > 5) | (ratings != np.round(ratings))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            place = f"{folder / name}, row {row + 1}, field {column + 1}"
            raise InputError(place, f"{ratings[row, column]} is not a rating", "0 (unobserved) or 1 to 5")
    n_users, n_items = train.shape
    item_texts = _attributes(folder / "user_item_features/item_features", n_items)
    user_texts = _attributes(folder / "user_item_features/user_features", n_users)
    user, item, rating, split = _interactions(train, test)
    notes: tuple[str, ...] = ()
    if (folder / TRUTH).is_file():
        truth = _matrix(folder / TRUTH, train.shape).astype(np.float32)
    else:
        truth = complete(user, item, rating, n_users, n_items)
        notes = (FITTED_TRUTH,)
    propensities = folder / "propensities.ascii"
    return Catalogue(
        item_ids=np.array([f"coat-{i:03d}" for i in range(n_items)], object),
        item_texts=item_texts,
        user_ids=np.array([f"user-{u:03d}" for u in range(n_users)], object),
        user_texts=user_texts,
        user=user,
        item=item,
        rating=rating,
        split=split,
        test_users=split_users(n_users, test_share, split_seed),
        truth=truth,
        propensities=_matrix(propensities, train.shape).astype(np.float32) if propensities.is_file() else None,
        notes=notes,
    )


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
    for number, line in enumerate(path.read_text().splitlines(), 1):
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


def _attributes(stem: Path, n_rows: int) -> dict[str, np.ndarray]:
    """One-hot blocks back to texts: the columns of ``STEM.ascii`` are named ``attribute:value`` in ``STEM_map.txt``."""
    names_file = stem.parent / f"{stem.name}_map.txt"
    if not names_file.is_file():
        raise InputError(str(names_file), "no such file", "the files of the original Coat archive")
    pairs = [line.strip().split(":", 1) for line in names_file.read_text().splitlines() if line.strip()]
    onehot = _matrix(stem.with_suffix(".ascii"), (n_rows, len(pairs)))
    texts = {}
    for name in dict.fromkeys(pair[0] for pair in pairs):
        columns = [i for i, pair in enumerate(pairs) if pair[0] == name]
        values = np.array([pairs[i][1] for i in columns], object)
        bad = onehot[:, columns].sum(1) != 1
        if bad.any():
            row = int(np.argmax(bad)) + 1
            raise InputError(f"{stem.with_suffix('.ascii')}, row {row}, field {name!r}", "has not exactly one value")
        texts[name] = values[onehot[:, columns].argmax(1)]
    return texts

"""What an environment accepts as an action, and how many items its sessions need."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.errors import InputError


class ActionError(InputError, ValueError):
    """An action is no item, or no array of items. Also a ValueError, as callers of a Gymnasium environment expect."""


def item_indices(actions: Any, shape: tuple[int, ...], n_items: int) -> np.ndarray:
    """Check that ``actions`` are item indices, without conversion: 3.7, True and "3" are no items.

    Args:
        actions: what a caller passed to ``step``.
        shape: the expected shape; ``(N,)``, or ``(N, k)`` for candidates.
        n_items: size of the catalogue, I.

    Returns:
        The actions as an array of integers.

    Raises:
        ActionError: another type (only integers are accepted), another shape, or an index below 0 or above I - 1.
    """
    try:
        array = np.asarray(actions)
    except (TypeError, ValueError) as error:  # nested lists of different lengths, or an object that is no array
        raise ActionError("action", f"is no array ({error})", _expected(shape, n_items)) from None
    if isinstance(actions, list | tuple) and array.dtype.kind in "iu":  # NumPy takes True beside integers for 1
        given = np.asarray(actions, object).ravel()
        array = array.astype(object) if any(isinstance(value, bool | np.bool_) for value in given) else array
    if array.dtype.kind not in "iu":
        raise ActionError("action", f"is of type {array.dtype}: {_short(actions)}", _expected(shape, n_items))
    if array.shape != shape:
        raise ActionError("action", f"has shape {array.shape}", _expected(shape, n_items))
    if array.min() < 0 or array.max() >= n_items:
        wrong = array[(array < 0) | (array >= n_items)].flat[0]
        raise ActionError("action", f"holds {wrong}", _expected(shape, n_items))
    return array


def distinct_candidates(actions: Any, shape: tuple[int, int], n_items: int) -> np.ndarray:
    """:func:`item_indices` of candidates ``(N, k)``, which must be distinct in each row.

    Raises:
        ActionError: as :func:`item_indices`, or a candidate occurs twice in a row.
    """
    array = item_indices(actions, shape, n_items)
    ordered = np.sort(array, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ActionError("action", "holds a candidate twice in a row", f"{shape[1]} distinct items per row")
    return array


def _expected(shape: tuple[int, ...], n_items: int) -> str:
    size = f"integers of shape {shape}" if shape else "an integer"
    return f"{size}, items from 0 to {n_items - 1}"


def _short(value: Any) -> str:
    return repr(value)[:100]


def require_items(n_items: int, steps: int, recent: int, settings: str, candidates: int = 1) -> None:
    """Check that every step of a session has enough items that may be recommended.

    Before its last step, a session of T steps holds its first item and T - 1 recommended ones. The mask excludes the
    ``recent`` latest of them, so that a catalogue of I items leaves at least I - min(recent, T).

    Args:
        n_items: size of the catalogue, I.
        steps: maximum number of steps of a session, T.
        recent: number of most recent items of the session that may not be recommended; -1: all.
        settings: settings of the caller that change this, for the error.
        candidates: number of distinct items that a step needs, k.

    Raises:
        InputError: fewer than ``candidates`` items may be left.
    """
    masked = steps if recent < 0 else min(recent, steps)
    if n_items < masked + candidates:
        needs = f"{candidates} candidates" if candidates > 1 else "an item to recommend"
        rule = f"the {masked} most recent items" if masked < steps else "all items"
        beside = f" beside {rule} of its session, which may not be recommended again" if masked else ""
        raise InputError(
            "items",
            f"there are {n_items}, but each step of a user (up to {steps}) needs {needs}{beside}",
            f"at least {masked + candidates} items, or lower values of {settings}",
        )

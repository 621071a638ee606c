"""Entry points of the registered gymnasium environments ``ialp/Coat-v0`` and ``ialp/World-v0``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.settings import CatalogueSettings, Settings, UsersSettings, from_dict, read_yaml
from ialp_rllib.users.env import UserEnv, UserVectorEnv, World
from ialp_rllib.users.worlds import make_world


def _refuse_rendering(options: dict[str, Any]) -> None:
    """Stable-Baselines3 first passes ``render_mode``, and retries without it after a TypeError."""
    if "render_mode" in options:
        raise TypeError("got an unexpected keyword argument 'render_mode': rendering is not supported")


def _coat_world(data_dir: str, split: str, **users: Any) -> World:
    """World of the Coat archive, with the completed ratings as rewards in both splits; needs no fitted user model."""
    _refuse_rendering(users)
    catalogue = read_source(CatalogueSettings(source="coat", data=data_dir))
    tree = {"world": "rating", "protocol": "split", "horizon": 30, **users}
    return make_world(catalogue, from_dict(UsersSettings, tree, "gymnasium.make", "users."), split, None)


def _run_world(run_dir: str, split: str, **users: Any) -> World:
    """World of a run's ``prepare`` and ``users`` stages, with its fitted user models; ``users`` overrides settings."""
    _refuse_rendering(users)
    root = Path(run_dir)
    tree = read_yaml(root / "settings.yaml")
    tree_users = tree.setdefault("users", {})
    for name, value in users.items():
        tree_users[name] = {**tree_users.get(name, {}), **value} if isinstance(value, dict) else value
    settings = from_dict(Settings, tree, str(root / "settings.yaml"))
    return make_world(read_catalogue(root / "prepare"), settings.users, split, root / "users")


def coat_env(
    data_dir: str,
    split: str = "test",
    history: int = 10,
    action_mask: bool = True,
    mask_recent: int | None = None,
    feedback: int = 0,
    **users: Any,
) -> UserEnv:
    """``gymnasium.make("ialp/Coat-v0", data_dir=...)``: the users of the Coat archive.

    Args:
        data_dir: folder of the archive.
        split: ``train``, ``valid`` or ``test``: which users.
        history, action_mask, mask_recent, feedback: as in :class:`UserEnv`.
        users: settings of :class:`UsersSettings`.

    Raises:
        InputError: the data or a setting are invalid.
    """
    return UserEnv(_coat_world(data_dir, split, **users), history, action_mask, mask_recent, feedback)


def coat_vector_env(
    data_dir: str,
    split: str = "test",
    history: int = 10,
    num_envs: int = 1,
    autoreset: str | AutoresetMode = "next_step",
    action_mask: bool = False,
    mask_recent: int | None = None,
    copy: bool = True,
    feedback: int = 0,
    **users: Any,
) -> UserVectorEnv:
    """``gymnasium.make_vec("ialp/Coat-v0", num_envs=N, vectorization_mode="vector_entry_point", data_dir=...)``.

    The arguments are those of :func:`coat_env` and :class:`UserVectorEnv`.
    """
    world = _coat_world(data_dir, split, **users)
    return UserVectorEnv(world, num_envs, history, autoreset, action_mask, mask_recent, copy, feedback)


def run_env(
    run_dir: str,
    split: str = "test",
    history: int = 10,
    action_mask: bool = True,
    mask_recent: int | None = None,
    feedback: int = 0,
    **users: Any,
) -> UserEnv:
    """``gymnasium.make("ialp/World-v0", run_dir=...)``: the users of a run.

    Args:
        run_dir: run folder with the ``prepare`` and ``users`` stages.
        split: ``train``, ``valid`` or ``test``: which users, and which rewards.
        history, action_mask, mask_recent, feedback: as in :class:`UserEnv`.
        users: override settings of the run's users: ``churn={"sessions": 5}``.

    Raises:
        InputError: the run or a setting are invalid.
    """
    return UserEnv(_run_world(run_dir, split, **users), history, action_mask, mask_recent, feedback)


def run_vector_env(
    run_dir: str,
    split: str = "test",
    history: int = 10,
    num_envs: int = 1,
    autoreset: str | AutoresetMode = "next_step",
    action_mask: bool = False,
    mask_recent: int | None = None,
    copy: bool = True,
    feedback: int = 0,
    **users: Any,
) -> UserVectorEnv:
    """``gymnasium.make_vec("ialp/World-v0", num_envs=N, vectorization_mode="vector_entry_point", run_dir=...)``.

    The arguments are those of :func:`run_env` and :class:`UserVectorEnv`.
    """
    world = _run_world(run_dir, split, **users)
    return UserVectorEnv(world, num_envs, history, autoreset, action_mask, mask_recent, copy, feedback)

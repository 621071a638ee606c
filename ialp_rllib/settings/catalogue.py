"""Settings of the catalogue: where the data lie and what is read from them."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import setting


@dataclass(frozen=True)
class CatalogueSettings:
    """What can be recommended, and what users did."""

    source: str = setting("parquet", "How the data lies on disk.", choices=("parquet", "coat"))
    data: str = setting("", "Folder of the data; empty: the scenario's own, inside the package. Also `--data`.")
    attributes: tuple[str, ...] = setting((), "Item attributes, in the order in which the judge reads them.")
    user_attributes: tuple[str, ...] = setting((), "User attributes for user models and the agent's state.")
    test_share: float = setting(0.2, "Share of the users kept for the test world.", low=0.01, high=0.9)
    split_seed: int = setting(0, "Seed of the split of the users into train and test.", low=0)

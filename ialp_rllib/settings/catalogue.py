"""Settings of the catalogue: where the data lie, what is read from them, and what is left out."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class ItemsFile:
    """The items of source `files`: one row per item."""

    file: str = setting("", "File in the data folder; empty: the only one called items.* or *.item.")
    id: str = setting("item_id", "Column of the item's id (text or whole numbers).")
    columns: dict[str, str] = setting({}, "Attribute -> its column, where the two have different names.")


@dataclass(frozen=True)
class InteractionsFile:
    """The log of source `files`: one row per interaction. A column with its default name need not be there."""

    file: str = setting("", "File in the data folder; empty: the only one called interactions.* or *.inter.")
    user: str = setting("user_id", "Column of the user's (or session's) id; it must be there.")
    item: str = setting("item_id", "Column of the item's id; it must be there.")
    position: str = setting("position", "Column of the place within the user's sequence; empty: order by time.")
    time: str = setting(
        "timestamp", "Column of the time (Unix seconds, or date and time: UTC if no zone is named); empty: none."
    )
    rating: str = setting("rating", "Column of the rating; empty: none.")


@dataclass(frozen=True)
class UsersFile:
    """The users of source `files`: one row per user. Needed only for user attributes."""

    file: str = setting("", "File in the data folder; empty: the only one called users.* or *.user, if there is one.")
    id: str = setting("user_id", "Column of the user's id.")
    columns: dict[str, str] = setting({}, "User attribute -> its column, where the two have different names.")


@dataclass(frozen=True)
class FilterSettings:
    """What is left out of a log, and how it is cut into sequences. 0 and false: not at all.

    In this order: `max_users`, `min_rating`, `session_gap`, `drop_repeats`, `max_length`; then `user_core`, `item_core`
    and `min_length` again and again until none of them removes anything.
    """

    max_users: int = setting(0, "Most users: a sample, drawn by a seeded hash of the user's id.", low=0)
    sample_seed: int = setting(0, "Seed of that sample.", low=0)
    min_rating: float = setting(0.0, "Interactions with a lower rating go; those without any stay.", low=0.0)
    session_gap: float = setting(0.0, "Hours without interaction after which a new sequence begins.", low=0.0, high=1e6)
    drop_repeats: bool = setting(False, "Of an item that occurs again within a sequence, keep the first occurrence.")
    max_length: int = setting(0, "Longer sequences are cut into consecutive pieces of at most this length.", low=0)
    user_core: int = setting(0, "Fewest interactions of a user, over all sequences.", low=0)
    item_core: int = setting(0, "Fewest interactions of an item; above 0, items that no one used go as well.", low=0)
    min_length: int = setting(0, "Fewest interactions of a sequence.", low=0)


@dataclass(frozen=True)
class PublishedSettings:
    """The published size of the data set, shown beside ours. 0: not published."""

    items: int = setting(0, "Items.", low=0)
    users: int = setting(0, "Users, or sequences.", low=0)
    interactions: int = setting(0, "Interactions.", low=0)


@dataclass(frozen=True)
class CatalogueSettings:
    """What can be recommended, and what users did."""

    source: str = setting(
        "files",
        "How the data lies on disk. files: tables in CSV, TSV, Parquet, JSON lines or RecBole's atomic files. "
        "coat, lfm (LFM-1b), amazon (reviews 2018): the official archives.",
        choices=("files", "coat", "lfm", "amazon"),
    )
    data: str = setting("", "Folder of the data; empty: the scenario's own, inside the package. Also `--data`.")
    attributes: tuple[str, ...] = setting((), "Item attributes, in the order in which the judge reads them.")
    user_attributes: tuple[str, ...] = setting((), "User attributes for user models and the agent's state.")
    items: ItemsFile = group(ItemsFile)
    interactions: InteractionsFile = group(InteractionsFile)
    users: UsersFile = group(UsersFile)
    filters: FilterSettings = group(FilterSettings)
    published: PublishedSettings = group(PublishedSettings)
    test_share: float = setting(0.2, "Share of the users kept for the test world.", low=0.01, high=0.9)
    test_part: int = setting(
        0,
        "Which of the equal parts of that share are the test users: parts 0 to 4 of a fifth hold every user once.",
        low=0,
    )
    split_seed: int = setting(0, "Seed of the split of the users into train and test.", low=0)
    memory_mb: int = setting(
        800, "Memory for reading and sorting the log, in MB; beyond it goes to disk.", low=100, high=10**9
    )
    threads: int = setting(2, "Threads that read and sort the log.", low=1, high=1024)

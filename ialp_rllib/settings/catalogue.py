"""Settings of the catalogue: data files, columns, filters, and the train/test split of the users."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class ItemsFile:
    """Items table of source `files`: one row per item."""

    file: str = setting("", "File in the data folder; empty: the only file named items.* or *.item.")
    id: str = setting("item_id", "Column of the item id (text or integer).")
    columns: dict[str, str] = setting({}, "Mapping of attribute to column, for attributes that differ from the column.")


@dataclass(frozen=True)
class InteractionsFile:
    """Interaction log of source `files`: one row per interaction.

    The columns of `position`, `time` and `rating` are optional: under their default names they may be missing.
    """

    file: str = setting("", "File in the data folder; empty: the only file named interactions.* or *.inter.")
    user: str = setting("user_id", "Column of the user id, or of the session id; required.")
    item: str = setting("item_id", "Column of the item id; required.")
    position: str = setting(
        "position",
        "Column of the position in the user's sequence (integer); without it the log is sorted by `time`, or else "
        "keeps the order of the file.",
    )
    time: str = setting(
        "timestamp",
        "Column of the time: Unix seconds, or date and time (UTC unless a time zone is given); empty: none.",
    )
    rating: str = setting("rating", "Column of the rating; empty: none.")


@dataclass(frozen=True)
class UsersFile:
    """Users table of source `files`: one row per user. Needed for user attributes only."""

    file: str = setting("", "File in the data folder; empty: the only file named users.* or *.user, if any.")
    id: str = setting("user_id", "Column of the user id.")
    columns: dict[str, str] = setting(
        {}, "Mapping of user attribute to column, for attributes that differ from the column."
    )


@dataclass(frozen=True)
class FilterSettings:
    """Filters on the log, and how it is cut into sequences. 0 and false disable a filter.

    They are applied in this order: `max_users`, `min_rating`, `session_gap`, `drop_repeats`, `max_length`; then
    `user_core`, `item_core` and `min_length`, repeatedly, until none of them removes anything.
    """

    max_users: int = setting(
        0, "Maximum number of users; a random sample is drawn by a seeded hash of the user id.", low=0
    )
    sample_seed: int = setting(0, "Random seed of the sample of users (`max_users`).", low=0, advanced=True)
    min_rating: float = setting(0.0, "Lowest rating that is kept; interactions without a rating are kept.", low=0.0)
    session_gap: float = setting(
        0.0, "Hours without an interaction after which a new sequence starts.", low=0.0, high=1e6
    )
    drop_repeats: bool = setting(False, "Keep only the first occurrence of an item in a sequence.")
    max_length: int = setting(
        0,
        "Maximum length of a sequence, in interactions; longer ones are cut into consecutive pieces.",
        low=0,
        advanced=True,
    )
    user_core: int = setting(0, "Minimum number of interactions per user, over all sequences (k-core).", low=0)
    item_core: int = setting(
        0, "Minimum number of interactions per item (k-core); above 0, items without any are removed as well.", low=0
    )
    min_length: int = setting(0, "Minimum number of interactions per sequence.", low=0, advanced=True)


@dataclass(frozen=True)
class PublishedSettings:
    """Published size of the data set, shown beside the size of the prepared data. 0: not published."""

    items: int = setting(0, "Published number of items.", low=0, advanced=True)
    users: int = setting(0, "Published number of users, or of sequences.", low=0, advanced=True)
    interactions: int = setting(0, "Published number of interactions.", low=0, advanced=True)


@dataclass(frozen=True)
class CatalogueSettings:
    """The data: items, users, the interaction log, and the train/test split of the users."""

    source: str = setting(
        "files",
        "Format of the data. files: tables in CSV, TSV, Parquet, JSON lines or RecBole atomic files. coat, lfm "
        "(LFM-1b), amazon (reviews 2018): the official archives.",
        choices=("files", "coat", "lfm", "amazon"),
    )
    data: str = setting(
        "", "Folder of the data; `package:sample` is the sample included in the package. Same as `--data`."
    )
    attributes: tuple[str, ...] = setting(
        (),
        "Item attributes, in the order in which the judge's prompt lists them; inputs of user models and agent, too.",
    )
    user_attributes: tuple[str, ...] = setting((), "User attributes: inputs of user models and of the agent's state.")
    items: ItemsFile = group(ItemsFile)
    interactions: InteractionsFile = group(InteractionsFile)
    users: UsersFile = group(UsersFile)
    filters: FilterSettings = group(FilterSettings)
    published: PublishedSettings = group(PublishedSettings)
    test_share: float = setting(0.2, "Fraction of the users that are held out for the test world.", low=0.01, high=0.9)
    test_part: int = setting(
        0,
        "Index of the fold of users that is held out: with a `test_share` of 0.2, folds 0 to 4 are a 5-fold "
        "cross-validation over users.",
        low=0,
        advanced=True,
    )
    split_seed: int = setting(0, "Random seed of the split of the users into train and test.", low=0, advanced=True)
    memory_mb: int = setting(
        800,
        "Memory limit for reading and sorting the log, in MB; what exceeds it is written to disk.",
        low=100,
        high=10**9,
        advanced=True,
    )
    threads: int = setting(2, "Threads for reading and sorting the log.", low=1, high=1024, advanced=True)

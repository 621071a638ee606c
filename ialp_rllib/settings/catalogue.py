"""Settings of the catalogue: data files, columns, filters, and the split of the users."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.errors import InputError
from ialp_rllib.settings.base import group, setting

TIME_UNITS = (
    *("seconds", "milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days"),
    *("yyyymmdd", "yyyymmddhhmmss"),
)
MISSING_TEXTS = (
    *("nan", "null", "none", "nil", "na", "n/a", "n.a.", "#n/a", "<na>", "(null)", r"\N", "unknown", "undefined"),
    *("not available", "not applicable", "-", "--", "---", "?", "."),
)
"""Placeholders that stand for a missing text, whatever their case."""
ITEM_COLUMNS = ("item_id", "is_cold")
USER_COLUMNS = ("user_id", "is_test", "is_valid", "is_hidden")
"""Columns of the prepared tables of items and users beside the attributes, which must have other names."""


@dataclass(frozen=True)
class TableFile:
    """A file of a table, and how it is written. What a format does not have (Parquet: a delimiter) may not be set."""

    file: str = setting("", "File in the data folder; empty: the only file that is named after the table.")
    member: str = setting("", "File inside a zip archive; empty: the only one in it.", advanced=True)
    delimiter: str = setting(
        "",
        "Separator of the fields of a text file, 1 to 4 characters: `,` `;` `|` `::` or `\\t`. Empty: that of the "
        "format (CSV: comma; TSV, RecBole: tab; PSV: bar); .txt, .dat and .data have none.",
        advanced=True,
    )
    quote: str = setting(
        "auto",
        "Whether fields of a text file may be in double quotes. auto: yes for CSV, TSV and separators of one "
        "character; no for RecBole and separators such as `::`.",
        choices=("auto", "double", "none"),
        advanced=True,
    )
    header: bool = setting(
        True,
        "Whether the first line of a text file holds the names of the columns. false: they are called as in `names`, "
        "or else 1, 2, 3, ...",
        advanced=True,
    )
    names: tuple[str, ...] = setting(
        (), "Names of all columns of a text file, in order; they replace those of a header.", advanced=True
    )
    encoding: str = setting(
        "",
        "Encoding of a text file: latin-1, cp1252, cp1251, utf-16, ... Empty: UTF-8, or what a byte order mark says.",
        advanced=True,
    )


@dataclass(frozen=True)
class ItemsFile(TableFile):
    """Items table of source `files`: one row per item."""

    file: str = setting("", "File in the data folder; empty: the only file named items.* or *.item.")
    id: str = setting("item_id", "Column of the item id (text or integer).", number=True)
    columns: dict[str, str] = setting({}, "Mapping of attribute to column, for attributes that differ from the column.")


@dataclass(frozen=True)
class InteractionsFile(TableFile):
    """Interaction log of source `files`: one row per interaction, or one row per user with lists (Parquet, JSON).

    `position`, `time` and `rating` are `auto`, which takes a column of the usual name if there is one, empty (no such
    column), or the name of a column, which must then exist.
    """

    file: str = setting("", "File in the data folder; empty: the only file named interactions.* or *.inter.")
    user: str = setting("user_id", "Column of the user id, or of the session id; required.", number=True)
    item: str = setting("item_id", "Column of the item id; required.", number=True)
    position: str = setting(
        "auto",
        "Column of the position in the user's sequence (integer), by which the log is sorted; without it the log is "
        "sorted by `time`, or else keeps the order of the file. auto: `position`.",
        number=True,
    )
    time: str = setting(
        "auto",
        "Column of the time: a number (see `time_unit`), or date and time (UTC unless a time zone is given); empty: "
        "none. auto: `timestamp`, or else the only column with a name such as ts, time, date, datetime or unixtime.",
        number=True,
    )
    time_unit: str = setting(
        "auto",
        "Unit of times that are numbers, counted from 1970; yyyymmdd and yyyymmddhhmmss: the digits of a date. auto: "
        "each number in the one of seconds, milliseconds, microseconds, nanoseconds and digits in which it lies "
        "between 1990 and 2035; hours, days and times that count from another start must be named.",
        choices=("auto", *TIME_UNITS),
        advanced=True,
    )
    time_format: str = setting(
        "",
        "Format of times that are neither numbers nor ISO 8601 (2024-12-31, 2024-12-31 23:59:59), as in strptime: "
        "`%d/%m/%Y`, `%m/%d/%Y %I:%M %p`.",
        advanced=True,
    )
    rating: str = setting("auto", "Column of the rating; empty: none. auto: `rating`.", number=True)


@dataclass(frozen=True)
class UsersFile(TableFile):
    """Users table of source `files`: one row per user. Needed for user attributes only."""

    file: str = setting("", "File in the data folder; empty: the only file named users.* or *.user, if any.")
    id: str = setting("user_id", "Column of the user id.", number=True)
    columns: dict[str, str] = setting(
        {}, "Mapping of user attribute to column, for attributes that differ from the column."
    )


@dataclass(frozen=True)
class FilterSettings:
    """Filters on the log, and how it is cut into sequences. 0 and false disable a filter.

    They are applied in this order: `max_users`, `drop_unknown_users`, `drop_unknown_items`, `min_rating`,
    `session_gap`, `drop_repeats`, `max_length`; then `user_core`, `item_core` and `min_length`, repeatedly, until none
    of them removes anything. `ialp data describe` shows what each of them removed. A filter on a column that the log
    does not have is an error.
    """

    max_users: int = setting(
        0, "Maximum number of users; a random sample is drawn by a seeded hash of the user id.", low=0
    )
    sample_seed: int = setting(0, "Random seed of the sample of users (`max_users`).", low=0, advanced=True)
    drop_unknown_users: bool = setting(
        False, "Drop interactions of users that are not in the users table, instead of refusing the log."
    )
    drop_unknown_items: bool = setting(
        False, "Drop interactions with items that are not in the items table, instead of refusing the log."
    )
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
    """The data: items, users, the interaction log, and the split of the users."""

    source: str = setting(
        "files",
        "Format of the data. files: tables in CSV, TSV, other delimited text, Parquet, JSON lines, JSON arrays or "
        "RecBole atomic files. coat, lfm (LFM-1b), amazon (reviews 2018): the official archives.",
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
    missing_texts: tuple[str, ...] = setting(
        MISSING_TEXTS,
        "Placeholders of a missing text, in any case and with white space around them; [] for none. An "
        "empty text is always missing.",
        advanced=True,
    )
    clean_html: bool = setting(
        False,
        "Remove the tags of HTML from the texts of items and users, and replace its entities: `<b>Tom &amp; Jerry</b>` "
        "becomes `Tom & Jerry`. The source amazon always does so for its items.",
    )
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
    valid_share: float = setting(
        0.1,
        "Fraction of the users that are held out for the validation world, in which settings, early stopping and "
        "temperatures are chosen.",
        low=0.01,
        high=0.9,
        advanced=True,
    )
    log_users: int = setting(
        -1,
        "Number of train users with a log that agent, judge and tuning may see; -1: all. The simulated users are "
        "always fitted on all logs.",
        low=-1,
        high=10**9,
    )
    cold_items: float = setting(
        0.0,
        "Fraction of the items of which agent, judge and tuning see no interaction, though the simulated users like "
        "them as the whole log says.",
        low=0.0,
        high=0.9,
        advanced=True,
    )
    split_seed: int = setting(
        0,
        "Random seed of the split of the users into train, validation and test, and of the choice of cold items.",
        low=0,
        advanced=True,
    )
    memory_mb: int = setting(
        800,
        "Memory limit for reading and sorting the log, in MB; what exceeds it is written to disk.",
        low=100,
        high=10**9,
        advanced=True,
    )
    threads: int = setting(2, "Threads for reading and sorting the log.", low=1, high=1024, advanced=True)

    def __post_init__(self) -> None:
        if self.test_share + self.valid_share > 0.95:
            problem = f"is {self.valid_share:g}, and catalogue.test_share {self.test_share:g}: no train users are left"
            raise InputError("catalogue.valid_share", problem, "together at most 0.95")

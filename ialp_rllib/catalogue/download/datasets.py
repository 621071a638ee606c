"""Public data sets: addresses of the official files, terms of use, and citations.

The publishers state no checksums, so none are given here: see :mod:`ialp_rllib.catalogue.download.fetch`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ialp_rllib.errors import InputError


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        name: name on disk; ``.zip`` files are unpacked, ``.gz`` files are not.
        urls: addresses, tried in this order.
        size: size, for display; empty: unknown.
        holds: files that the archive must contain, without a common top-level folder.
        sha256: checksum that the publisher states, or None.
    """

    name: str
    urls: tuple[str, ...]
    size: str = ""
    holds: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    Attributes:
        name: name on the command line; also the default folder below ``data/``.
        title: short description.
        page: web page of the publisher.
        terms: terms of use.
        cite: citation.
        scenario: scenario of the package that reads the data.
        files: files to download.
        remark: further information before the download.
    """

    name: str
    title: str
    page: str
    terms: str
    cite: str
    scenario: str
    files: tuple[RemoteFile, ...]
    remark: str = ""


COAT = DataSet(
    name="coat",
    title="Coat: 290 users rate 300 coats",
    page="https://www.cs.cornell.edu/~schnabts/mnar/",
    terms="No licence is stated; published for research.",
    cite="Schnabel, Swaminathan, Singh, Chandak, Joachims: Recommendations as Treatments: Debiasing Learning and "
    "Evaluation. ICML 2016.",
    scenario="coat",
    files=(
        RemoteFile(
            "coat.zip",
            ("https://www.cs.cornell.edu/~schnabts/mnar/coat.zip",),
            "0.5 MB",
            (
                "train.ascii",
                "test.ascii",
                "user_item_features/item_features.ascii",
                "user_item_features/user_features.ascii",
            ),
        ),
    ),
)

LFM_1B = DataSet(
    name="lfm-1b",
    title="LFM-1b: 1.09e9 listening events of 120,322 users of Last.fm",
    page="http://www.cp.jku.at/datasets/LFM-1b/",
    terms="Derived from Last.fm under its API terms of service: non-commercial research.",
    cite="Schedl: The LFM-1b Dataset for Music Retrieval and Recommendation. ICMR 2016.",
    scenario="lfm",
    files=(
        RemoteFile(
            "LFM-1b.zip",
            ("http://drive.jku.at/ssf/s/readFile/share/1056/266403063659030189/publicLink/LFM-1b.zip",),
            "about 8 GB",
            ("LFM-1b_LEs.txt", "LFM-1b_tracks.txt", "LFM-1b_albums.txt", "LFM-1b_artists.txt"),
        ),
    ),
    remark="In 2025 users reported that the licence has expired and that the page no longer offers the data. If this "
    "address does not respond, only an existing copy can be used.",
)

#: Categories of the Amazon reviews 2018 with a 5-core file, as spelled in the addresses.
AMAZON_CATEGORIES = (
    *("AMAZON_FASHION", "All_Beauty", "Appliances", "Arts_Crafts_and_Sewing", "Automotive", "Books", "CDs_and_Vinyl"),
    *("Cell_Phones_and_Accessories", "Clothing_Shoes_and_Jewelry", "Digital_Music", "Electronics", "Gift_Cards"),
    *("Grocery_and_Gourmet_Food", "Home_and_Kitchen", "Industrial_and_Scientific", "Kindle_Store", "Luxury_Beauty"),
    *("Magazine_Subscriptions", "Movies_and_TV", "Musical_Instruments", "Office_Products", "Patio_Lawn_and_Garden"),
    *("Pet_Supplies", "Prime_Pantry", "Software", "Sports_and_Outdoors", "Tools_and_Home_Improvement"),
    *("Toys_and_Games", "Video_Games"),
)
_INDUSTRIAL = "Industrial_and_Scientific"
_AMAZON_ROOTS = (
    "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/",
    "https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_v2/",
)


def data_set(name: str) -> DataSet:
    """The data set with this name: ``coat``, ``lfm-1b`` or ``amazon-CATEGORY``.

    Names are case-insensitive, and ``-`` equals ``_``. A category may be abbreviated to a unique prefix:
    ``amazon-industrial``.

    Raises:
        InputError: no data set or several categories match.
    """
    wanted = name.lower().replace("_", "-")
    known = {d.name: d for d in (COAT, LFM_1B)}
    if wanted in known:
        return known[wanted]
    categories = {category.lower().replace("_", "-"): category for category in AMAZON_CATEGORIES}
    if wanted.startswith("amazon-"):
        prefix = wanted.removeprefix("amazon-")
        matches = [prefix] if prefix in categories else [c for c in categories if prefix and c.startswith(prefix)]
        if len(matches) == 1:
            return _amazon(categories[matches[0]])
        nearest = matches or difflib.get_close_matches(prefix, categories, n=3, cutoff=0.5) or list(categories)
        raise InputError(
            f"data set {name!r}",
            f"matches {len(matches)} categories" if matches else "no such category",
            "one of " + ", ".join(f"amazon-{c}" for c in nearest),
        )
    raise InputError(f"data set {name!r}", "is unknown", f"{', '.join(known)}, amazon-industrial or amazon-CATEGORY")


def data_sets() -> list[DataSet]:
    """The data sets that ``ialp data download --list`` shows; of the Amazon categories only that of the publication."""
    return [COAT, LFM_1B, _amazon(_INDUSTRIAL)]


def _amazon(category: str) -> DataSet:
    published = category == _INDUSTRIAL
    reviews, products = f"{category}_5.json.gz", f"meta_{category}.json.gz"
    return DataSet(
        name="amazon-industrial" if published else f"amazon-{category.lower().replace('_', '-')}",
        title=f"Amazon reviews 2018, {category.replace('_', ' ')}: 5-core reviews and product metadata",
        page="https://nijianmo.github.io/amazon/",
        terms="No licence is stated; published for research. The texts belong to Amazon, its sellers and reviewers.",
        cite="Ni, Li, McAuley: Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects. "
        "EMNLP-IJCNLP 2019.",
        scenario="amazon",
        files=(
            RemoteFile(
                reviews, tuple(f"{r}categoryFilesSmall/{reviews}" for r in _AMAZON_ROOTS), "11 MB" if published else ""
            ),
            RemoteFile(
                products, tuple(f"{r}metaFiles2/{products}" for r in _AMAZON_ROOTS), "84 MB" if published else ""
            ),
        ),
    )

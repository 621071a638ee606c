"""Data sets of the publications: where their official files lie, on which terms, and what to cite.

No publisher states checksums, so none are given here: see :mod:`ialp_rllib.catalogue.download.fetch`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ialp_rllib.errors import InputError


@dataclass(frozen=True)
class RemoteFile:
    """A file that is downloaded.

    Attributes:
        name: its name on disk; ``.zip`` is unpacked, ``.gz`` stays as it is.
        urls: its addresses, tried in this order.
        size: in words; empty: not known.
        holds: files that the archive must hold, without the folder that may enclose them all.
        sha256: as its publisher states it, or None.
    """

    name: str
    urls: tuple[str, ...]
    size: str = ""
    holds: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        name: what the user types; also the default folder below ``data/``.
        title: what it is.
        page: its publisher's page.
        terms: what one may do with it.
        cite: what to cite.
        scenario: the scenario of the package that reads it.
        files: what is downloaded.
        remark: what else to know before downloading.
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
    remark="In 2025 users reported that its licence has run out and that its page offers it no longer. If this address "
    "does not answer, what is left is a copy that you were given when it did.",
)

#: Categories of the Amazon reviews 2018 that have a 5-core file, as they are written in the addresses.
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
    """The data set of this name: ``coat``, ``lfm-1b``, ``amazon-CATEGORY``.

    A category may be shortened to what tells it from the others, in any case, with ``-`` for ``_``:
    ``amazon-industrial``.

    Raises:
        InputError: there is none, or several categories begin so.
    """
    wanted = name.lower().replace("_", "-")
    known = {d.name: d for d in (COAT, LFM_1B)}
    if wanted in known:
        return known[wanted]
    categories = {category.lower().replace("_", "-"): category for category in AMAZON_CATEGORIES}
    if wanted.startswith("amazon-"):
        short = wanted.removeprefix("amazon-")
        found = [short] if short in categories else [c for c in categories if short and c.startswith(short)]
        if len(found) == 1:
            return _amazon(categories[found[0]])
        nearest = found or difflib.get_close_matches(short, categories, n=3, cutoff=0.5) or list(categories)
        raise InputError(
            f"data set {name!r}",
            f"{len(found)} categories begin so" if found else "no such category",
            "one of " + ", ".join(f"amazon-{c}" for c in nearest),
        )
    raise InputError(f"data set {name!r}", "is not known", f"{', '.join(known)}, amazon-industrial or amazon-CATEGORY")


def data_sets() -> list[DataSet]:
    """What ``ialp data download --list`` shows: one line for all Amazon categories but the one of the publication."""
    return [COAT, LFM_1B, _amazon(_INDUSTRIAL)]


def _amazon(category: str) -> DataSet:
    known = category == _INDUSTRIAL
    reviews, products = f"{category}_5.json.gz", f"meta_{category}.json.gz"
    return DataSet(
        name="amazon-industrial" if known else f"amazon-{category.lower().replace('_', '-')}",
        title=f"Amazon reviews 2018, {category.replace('_', ' ')}, 5-core, and its products",
        page="https://nijianmo.github.io/amazon/",
        terms="No licence is stated; published for research. The texts belong to Amazon, its sellers and reviewers.",
        cite="Ni, Li, McAuley: Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects. "
        "EMNLP-IJCNLP 2019.",
        scenario="amazon",
        files=(
            RemoteFile(
                reviews, tuple(f"{r}categoryFilesSmall/{reviews}" for r in _AMAZON_ROOTS), "11 MB" if known else ""
            ),
            RemoteFile(products, tuple(f"{r}metaFiles2/{products}" for r in _AMAZON_ROOTS), "84 MB" if known else ""),
        ),
    )

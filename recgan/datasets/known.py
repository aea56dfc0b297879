"""The data sets that recgan can fetch: who publishes them, how large they are, what their licence asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from recgan.errors import ConfigError

BASE = "https://files.grouplens.org/datasets/movielens"
STRICT = (
    "MovieLens data by GroupLens, University of Minnesota: for research, with acknowledgement, without implied "
    "endorsement; no redistribution and no commercial use without permission."
)
SHARE_ALIKE = (
    "MovieLens data by GroupLens, University of Minnesota: for research, with acknowledgement, without implied "
    "endorsement; redistribution under the same licence only; no commercial use without permission."
)


@dataclass(frozen=True)
class KnownDataset:
    """One public data set.

    Args:
        name: its name here, and of its archive at the publisher's.
        users: number of users.
        items: number of items in its item table.
        interactions: number of ratings.
        megabytes: size of the archive.
        md5: the publisher's checksum of the archive; None: none is published, the data changes over time.
        licence: what the licence asks, in one sentence; `page` has the full text.
        members: files wanted from the archive.
        package: a Python package that holds a copy, asked when the publisher is out of reach; None: there is none.
        package_files: files wanted from that package, to their SHA-256.
    """

    name: str
    users: int
    items: int
    interactions: int
    megabytes: int
    md5: str | None
    licence: str
    members: tuple[str, ...]
    package: str | None = None
    package_files: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Address of the archive."""
        return f"{BASE}/{self.name}.zip"

    @property
    def page(self) -> str:
        """Address of the full licence."""
        return f"{BASE}/{self.name}-README.{'html' if 'README.txt' in self.members else 'txt'}"


CSV_MEMBERS = ("ratings.csv", "movies.csv", "README.txt")
EXAMPLE = "recbole/dataset_example/ml-100k/ml-100k"

_SETS = (
    KnownDataset(
        name="ml-100k",
        users=943,
        items=1_682,
        interactions=100_000,
        megabytes=5,
        md5="0e33842e24a9c977be4e0107933c0723",
        licence=STRICT,
        members=("u.data", "u.item", "u.user", "u.genre", "README"),
        package="recbole==1.2.1",
        package_files={
            f"{EXAMPLE}.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            f"{EXAMPLE}.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            f"{EXAMPLE}.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
        },
    ),
    KnownDataset(
        name="ml-1m",
        users=6_040,
        items=3_883,
        interactions=1_000_209,
        megabytes=6,
        md5="c4d9eecfca2ab87c1945afe126590906",
        licence=STRICT,
        members=("ratings.dat", "movies.dat", "users.dat", "README"),
    ),
    KnownDataset(
        "ml-20m", 138_493, 27_278, 20_000_263, 199, "cd245b17a1ae2cc31bb14903e1204af3", SHARE_ALIKE, CSV_MEMBERS
    ),
    KnownDataset(
        "ml-25m", 162_541, 62_423, 25_000_095, 262, "6b51fb2759a8657d3bfcbfc42b592ada", SHARE_ALIKE, CSV_MEMBERS
    ),
    KnownDataset("ml-latest-small", 610, 9_742, 100_836, 1, None, SHARE_ALIKE, CSV_MEMBERS),
)
KNOWN: dict[str, KnownDataset] = {known.name: known for known in _SETS}


def dataset_names() -> tuple[str, ...]:
    """Names of the data sets that can be fetched.

    Returns:
        The names, smallest family first.

    Example:
        >>> dataset_names()
        ('ml-100k', 'ml-1m', 'ml-20m', 'ml-25m', 'ml-latest-small')
    """
    return tuple(KNOWN)


def dataset_table() -> pd.DataFrame:
    """What is known about each data set before it is fetched.

    Returns:
        One row a data set: name, users, items, interactions, megabytes (of the download), md5 (None where the publisher
        gives none, because the data changes over time), url, licence.
    """
    columns = ("name", "users", "items", "interactions", "megabytes", "md5", "url", "licence")
    return pd.DataFrame([{column: getattr(known, column) for column in columns} for known in _SETS])


def known_dataset(name: str) -> KnownDataset:
    """The entry of one data set.

    Args:
        name: one of `dataset_names()`.

    Raises:
        ConfigError: when the name is unknown; the message lists the known ones.
    """
    if name not in KNOWN:
        raise ConfigError(f"unknown data set {name!r}: choose one of {', '.join(KNOWN)}")
    return KNOWN[name]

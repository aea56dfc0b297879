"""Does the search for gaps in the catalogue find what was taken away, and is it quiet when nothing of a kind was?

    python scripts/benchmarks/catalogue_gaps.py [--data ml-100k] [--niches Western Horror] [--size 30] [--controls 5]

A model is trained on everything. Then the most popular titles of a genre are taken out of the catalogue, but not out of
the histories, and `model.gaps` is asked. A niche is found when a gap of kind "withdrawn" is reported, and named when
its genre is among the at most three that describe a gap. Controls: nothing is taken away, or every title of a niche is
replaced by a random one of about its popularity. `--mixed` takes as many random titles away beside the niche.
Prints a row a niche, the rates of detection and of false alarms, and the accuracy of the attributes' decoders.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import recgan
from recgan.schema import CATEGORIES, CATEGORY_SEPARATOR, ITEM, TITLE, YEAR

NICHES = (
    *("Animation", "Children's", "Documentary", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Sci-Fi"),
    *("War", "Western"),
)
NEAR = 0.02
"""A title's stand-in is among the nearest by popularity: this share of the catalogue on either side."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    add = parser.add_argument
    add("--data", default="ml-100k", help="name of a data set, or a folder with interactions.parquet, items.parquet")
    add("--model", type=Path, help="folder of a trained model; where there is none, it is trained and kept there")
    add("--unordered", action="store_true", help="leave out when the ratings were given")
    add("--niches", nargs="+", default=list(NICHES), help="genres")
    add("--size", type=int, default=30, help="most titles of a niche")
    add("--controls", type=int, default=5, help="random withdrawals a niche")
    add("--mixed", action="store_true", help="take as many random titles away beside each niche")
    add("--alpha", type=float, default=0.01, help="level of the test")
    add("--seed", type=int, default=0, help="of training and of the controls")


def trained(options: argparse.Namespace) -> recgan.Recommender:
    """The model of the options: read, or trained on all ratings from 4."""
    if options.model is not None and (options.model / "manifest.json").exists():
        return recgan.Recommender.load(options.model)
    interactions, items = _tables(options.data)
    liked = recgan.read_interactions(interactions, min_rating=4)
    liked = liked[["user_id", ITEM]] if options.unordered else liked
    model = recgan.train(liked, items, config=recgan.Config(progress=False), seed=options.seed)
    if options.model is not None:
        model.save(options.model)
    return model


def _tables(data: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = Path(data)
    if not folder.is_dir():
        known = recgan.load_dataset(data)
        return known.interactions, known.items
    interactions, items = (pd.read_parquet(folder / f"{name}.parquet") for name in ("interactions", "items"))
    if YEAR not in items.columns:
        parts = items[TITLE].str.extract(r"^(.*?)\s*\((\d{4})\)\s*$")
        items = items.assign(**{TITLE: parts[0].fillna(items[TITLE]), YEAR: parts[1].astype("float64")})
    return interactions, items


class Shelf:
    """The items of a model by popularity, and what is taken from them."""

    def __init__(self, model: recgan.Recommender, seed: int) -> None:
        counts = model._histories.counts()
        self.order = np.argsort(-counts, kind="stable")
        self.share = counts / counts.sum()
        self.random = np.random.default_rng(seed)
        self.genres = [set(str(text).split(CATEGORY_SEPARATOR)) for text in model.item_table[CATEGORIES].fillna("")]

    def niche(self, genre: str, size: int) -> np.ndarray:
        """Numbers of the most popular titles of a genre."""
        return np.array([number for number in self.order if genre in self.genres[number]][:size], np.int64)

    def like(self, numbers: np.ndarray) -> np.ndarray:
        """As many other titles, each a random one of about the same popularity."""
        reach = max(10, round(NEAR * len(self.order)))
        left = [number for number in self.order if number not in set(numbers.tolist())]
        place = {number: at for at, number in enumerate(self.order)}
        chosen: list[int] = []
        for number in numbers:
            nearest = sorted(
                (one for one in left if one not in chosen), key=lambda one: abs(place[one] - place[number])
            )
            chosen.append(int(self.random.choice(nearest[: 2 * reach])))
        return np.array(chosen, np.int64)


def asked(model: recgan.Recommender, away: np.ndarray, options: argparse.Namespace) -> pd.DataFrame:
    """The gaps of a model once some items are taken from the catalogue."""
    return model.gaps(items=np.delete(model.items.to_numpy(), away), alpha=options.alpha)


def measured(model: recgan.Recommender, genre: str, options: argparse.Namespace, shelf: Shelf) -> dict[str, object]:
    """One niche and its controls."""
    niche = shelf.niche(genre, options.size)
    beside = shelf.like(niche) if options.mixed else niche[:0]
    gaps = asked(model, np.concatenate([niche, beside]), options)
    found = gaps[gaps["kind"] == "withdrawn"]
    told = [set(text.split(CATEGORY_SEPARATOR)) for text in found[CATEGORIES]]
    missing = [one for ids in found["missing_items"] for one in ids]
    own = set(model.items.to_numpy()[niche].tolist())
    controls = [asked(model, shelf.like(niche), options) for _ in range(options.controls)]
    return {
        "niche": genre,
        "titles": len(niche),
        "popularity": shelf.share[niche].sum(),
        "p": gaps.attrs["p_value"],
        "found": bool(len(found)),
        "named": any(genre in names for names in told),
        "told": " + ".join(found[CATEGORIES]),
        "users": int(found["users"].sum()),
        "listed": len(missing),
        "right": sum(one in own for one in missing) / len(missing) if missing else float("nan"),
        "alarms": sum(bool(len(control)) for control in controls),
        "controls' p": " ".join(f"{control.attrs['p_value']:.2f}" for control in controls),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    model = trained(options)
    shelf = Shelf(model, options.seed)
    rows = pd.DataFrame([measured(model, genre, options, shelf) for genre in options.niches])
    untouched = model.gaps(alpha=options.alpha)
    print(rows.to_string(index=False, float_format="{:.3f}".format))
    runs = options.controls * len(rows)
    print(f"\nfound {rows['found'].sum()} of {len(rows)} niches, named {rows['named'].sum()} (level {options.alpha})")
    print(
        f"false alarms: {rows['alarms'].sum()} of {runs} random withdrawals; nothing withdrawn: {len(untouched)} gaps"
    )
    print(pd.DataFrame(untouched.attrs["accuracy"]).T.to_string(float_format="{:.3f}".format))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How long a table of a million rows takes to be read and checked: `python scripts/benchmarks/reading.py`."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import recgan


def table(rows: int, text: bool) -> pd.DataFrame:
    """Random interactions with weights and seconds, ids as numbers or as text."""
    random = np.random.default_rng(0)
    users, items = random.integers(0, rows // 20, rows), random.integers(0, 20_000, rows)
    frame = pd.DataFrame({"user_id": users, "item_id": items, "weight": random.random(rows)})
    frame["timestamp"] = random.integers(10**9, 2 * 10**9, rows)
    if text:
        frame = frame.assign(
            user_id="user-" + frame["user_id"].astype(str), item_id="item-" + frame["item_id"].astype(str)
        )
    return frame


def seconds(work: Callable[[], object], tries: int) -> str:
    """The shortest of some tries, what else the machine does only adds: on the clock, and of the processor."""
    clock, processor = [], []
    for _ in range(tries):
        since, used = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - since)
        processor.append(time.process_time() - used)
    return f"{min(clock):.2f} ({min(processor):.2f})"


def measured(rows: int, tries: int) -> pd.DataFrame:
    """Seconds (and processor seconds) by kind of id and source; "ISO times" has text instead of seconds."""
    found = []
    for text in (False, True):
        frame = table(rows, text)
        times = pd.to_datetime(frame["timestamp"], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        with tempfile.TemporaryDirectory() as folder:
            csv, parquet = Path(folder, "t.csv"), Path(folder, "t.parquet")
            frame.to_csv(csv, index=False)
            frame.to_parquet(parquet, index=False)
            sources = {"frame": frame, "ISO times": frame.assign(timestamp=times), "CSV": csv, "Parquet": parquet}
            row = {name: seconds(lambda it=it: recgan.read_interactions(it), tries) for name, it in sources.items()}
        found.append({"ids": "text" if text else "numbers", **row})
    return pd.DataFrame(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tries", type=int, default=5)
    arguments = parser.parse_args()
    print(measured(arguments.rows, arguments.tries).to_string(index=False))

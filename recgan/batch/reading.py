"""Read what a batch job has written."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from recgan.batch.claiming import holds_job
from recgan.batch.files import JOB
from recgan.batch.folders import folder_of
from recgan.batch.records import read_json
from recgan.batch.shards import read_shard
from recgan.errors import DataError
from recgan.remote import Place


def read_batch(folder: Place) -> pd.DataFrame:
    """All lists of a finished batch job.

    Args:
        folder: as `run_batch` left it, a path or a URL.

    Returns:
        A frame user_id, item_id, rank, score and, where the job has them, reason and model_version; users in the order
        of the job, each best first.

    Raises:
        DataError: when the folder holds no batch job, or a shard is missing or damaged.
    """
    root = folder_of(folder)
    if not holds_job(root):
        raise DataError(f"{root}: holds no batch job")
    job = read_json(root, JOB)
    tables = [read_shard(root, shard, job) for shard in range(job["n_shards"])]
    lacking = [str(shard) for shard, table in enumerate(tables) if table is None]
    if lacking:
        some = ", ".join(lacking[:5]) + f" and {len(lacking) - 5} more" * (len(lacking) > 5)
        raise DataError(
            f"{root}: of {len(tables)} shards these are missing or damaged: {some}; run the batch job again"
        )
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame

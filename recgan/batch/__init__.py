"""Batch jobs: lists for many users as Parquet shards, which can be killed anywhere and taken up again."""

from recgan.batch.claiming import is_batch
from recgan.batch.reading import read_batch
from recgan.batch.running import BatchResult, run_batch, score_shard

__all__ = ["BatchResult", "is_batch", "read_batch", "run_batch", "score_shard"]

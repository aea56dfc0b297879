"""Engine "spark": tasks of a Spark cluster, or without one of this machine; a Python worker reads the model once."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark import RDD, Accumulator, SparkConf, SparkContext

from recgan.batch.assignment import Assignment
from recgan.batch.failure import Failure
from recgan.errors import RecganError

LOOPBACK = "127.0.0.1"
LOOK_EVERY = 1.0
"""Seconds between two looks at how far the tasks are."""


def run(assignment: Assignment, shards: Sequence[int], workers: int | None, tick: Callable[[int], None]) -> None:
    """Make shards in tasks of the Spark that is active or configured, or of this machine; one shard a task.

    Args:
        assignment: what is asked; broadcast once.
        shards: which shards.
        workers: how many tasks at the same time; None for what Spark has.
        tick: called with the number of users that are done since the last call.

    Raises:
        RecganError: when Spark gave up, or what a worker raised itself.
    """
    with _context(workers) as (context, own):
        users = context.accumulator(0)
        sent = context.broadcast(assignment)

        def attempt(shard: int) -> int | Failure:
            found: int | Failure = sent.value.attempt(shard)
            users.add(0 if isinstance(found, Failure) else found)
            return found

        slices = len(shards) if own or workers is None else min(workers, len(shards))
        try:
            found = _collected(context, context.parallelize(shards, slices).map(attempt), users, tick)
        finally:
            sent.destroy()
    for one in found:
        if isinstance(one, Failure):
            raise one.error()


def _collected(
    context: SparkContext, wanted: RDD[int | Failure], users: Accumulator[int], tick: Callable[[int], None]
) -> list[int | Failure]:
    """The results of a job, with a look at how far it is now and then; Ctrl-C cancels it."""
    group = f"recgan-{uuid.uuid4().hex}"

    def collect() -> list[int | Failure]:
        context.setJobGroup(group, "recgan batch", interruptOnCancel=True)
        return list(wanted.collect())

    with ThreadPoolExecutor(1) as thread:
        try:
            return _watched(thread.submit(collect), users, tick)
        except Py4JError as error:
            told = " ".join(str(error).split())[:300]
            raise RecganError(
                f"Spark gave up ({told}); finished shards are kept: run the job again to make the others"
            ) from error
        except BaseException:
            context.cancelJobGroup(group)
            raise


def _watched(
    found: Future[list[int | Failure]], users: Accumulator[int], tick: Callable[[int], None]
) -> list[int | Failure]:
    told = 0
    while True:
        try:
            return found.result(LOOK_EVERY)
        except NotYet:
            if found.done():
                raise
        finally:
            done = users.value
            tick(done - told)
            told = done


@contextmanager
def _context(workers: int | None) -> Iterator[tuple[SparkContext, bool]]:
    """A Spark that is active, or one until the block ends; and whether it is one of this machine alone."""
    if SparkContext._active_spark_context is not None:
        yield SparkContext._active_spark_context, False
        return
    conf = SparkConf()
    own = not conf.contains("spark.master")
    if own:
        _alone(conf, workers)
    context = SparkContext(conf=conf)
    try:
        if own:
            context.setLogLevel("ERROR")
        yield context, own
    finally:
        context.stop()


def _alone(conf: SparkConf, workers: int | None) -> None:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf.setMaster(f"local[{workers or '*'}]").setAppName("recgan batch")
    conf.set("spark.driver.host", LOOPBACK).set("spark.driver.bindAddress", LOOPBACK)
    conf.set("spark.ui.enabled", "false").set("spark.ui.showConsoleProgress", "false")
    conf.setExecutorEnv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, sys.path)))

"""Engine "ray": actors of a Ray cluster, or without one of this machine, each with the model and one thread."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ray
from ray.exceptions import RayError
from ray.util import ActorPool

from recgan.batch.assignment import Assignment
from recgan.batch.failure import Failure
from recgan.errors import RecganError

RESTARTS = 2
"""How often a lost worker is replaced."""


class Scorer:
    """An actor that makes shards.

    Args:
        assignment: what is asked.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment

    def attempt(self, shard: int) -> int | Failure:
        """Make one shard; the number of its users, or why it could not be made."""
        return self._assignment.attempt(shard)


def run(assignment: Assignment, shards: Sequence[int], workers: int | None, tick: Callable[[int], None]) -> None:
    """Make shards in the actors of the cluster that is connected, or that RAY_ADDRESS names, or of this machine.

    Args:
        assignment: what is asked; sent once a machine.
        shards: which shards.
        workers: how many actors; None for one a core of the cluster.
        tick: called with the number of users that are done since the last call.

    Raises:
        RecganError: when workers were lost again and again, or what one raised itself.
    """
    try:
        with _connected(workers), _pool(assignment, shards, workers) as pool:
            for found in pool.map_unordered(lambda actor, shard: actor.attempt.remote(shard), shards):
                if isinstance(found, Failure):
                    raise found.error()
                tick(found)
    except RayError as error:
        told = " ".join(str(error).split())[:300]
        raise RecganError(
            f"Ray lost a worker or the cluster ({told}); finished shards are kept: run the job again to make the others"
        ) from error


@contextmanager
def _connected(workers: int | None) -> Iterator[None]:
    """A Ray that is there, or one of this machine alone until the block ends."""
    if ray.is_initialized():
        yield
        return
    if "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=False)
    else:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
            _node_ip_address="127.0.0.1",
        )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _pool(assignment: Assignment, shards: Sequence[int], workers: int | None) -> Iterator[ActorPool]:
    actor = ray.remote(num_cpus=1, max_restarts=RESTARTS, max_task_retries=RESTARTS)(Scorer)
    sent = ray.put(assignment)
    cores = int(ray.cluster_resources().get("CPU", 1))
    actors = [actor.remote(sent) for _ in range(min(workers or cores, len(shards)))]
    try:
        yield ActorPool(actors)
    finally:
        for one in actors:
            ray.kill(one)

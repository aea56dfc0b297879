"""Engine "ray": actors of a Ray cluster, or without one of this machine, each with the model and one thread."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from recgan.batch.assignment import Assignment
from recgan.batch.failure import Failure
from recgan.errors import RecganError

ALONE = "RAY_ADDRESS" not in os.environ
if ALONE:  # read when Ray is imported: a Ray of this machine alone then listens to this machine alone
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray  # noqa: E402
from ray.exceptions import RayError  # noqa: E402
from ray.util import ActorPool  # noqa: E402

RESTARTS = 2
"""How often a lost worker is replaced."""


class Scorer:
    """An actor that makes shards; one that replaces a lost actor reads the assignment again."""

    def __init__(self) -> None:
        self._assignment: Assignment | None = None

    def attempt(self, sent: Sequence[ray.ObjectRef], shard: int) -> int | Failure:
        """Make one shard; the number of its users, or why it could not be made.

        Args:
            sent: where the assignment lies, the only one of a list.
            shard: which shard.
        """
        if self._assignment is None:
            self._assignment = ray.get(sent[0])
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
        with _connected(workers), _pool(len(shards), workers) as pool:
            sent = [ray.put(assignment)]
            for found in pool.map_unordered(lambda actor, shard: actor.attempt.remote(sent, shard), shards):
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
    if not ALONE:
        _join()
    else:
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
            logging_level="ERROR",
        )
    try:
        yield
    finally:
        ray.shutdown()


def _join() -> None:
    """Connect to the Ray that RAY_ADDRESS names."""
    try:
        ray.init(log_to_driver=False)
    except ConnectionError as error:
        raise RecganError(f"Ray at RAY_ADDRESS={os.environ['RAY_ADDRESS']} cannot be reached: {error}") from error


@contextmanager
def _pool(most: int, workers: int | None) -> Iterator[ActorPool]:
    """Actors, no more than shards and cores are there, which end with the block."""
    actor = ray.remote(num_cpus=1, max_restarts=RESTARTS, max_task_retries=RESTARTS)(Scorer)
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    actors = [actor.remote() for _ in range(min(workers or cores, cores, most))]
    try:
        yield ActorPool(actors)
    finally:
        for one in actors:
            ray.kill(one)

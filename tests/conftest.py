"""What several test modules share: planted data, and one small trained model."""

from __future__ import annotations

import os
import signal
import socket

import pytest
from hypothesis import settings
from planted import planted

import recgan

# How long an example takes depends on what else the machine does. HYPOTHESIS=search looks for other ones every time.
settings.register_profile("recgan", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS", "recgan"))

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored, by what the tests start too

SMALL = {
    "embedding_dim": 16,
    "hidden_dim": 32,
    "noise_dim": 4,
    "n_draws": 4,
    "epochs": 12,
    "game_steps": 40,
    "batch_size": 32,
    "n_candidates": 20,
    "progress": False,
}


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Nothing but this machine can be reached."""
    connect = socket.socket.connect

    def connect_here(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise ConnectionRefusedError(f"a test asked for {address}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        yield


@pytest.fixture(scope="session")
def small_config() -> recgan.Config:
    return recgan.Config(**SMALL)


@pytest.fixture(scope="session")
def interactions():
    return planted(n_users=120, n_items=60, n_groups=4, noise=0.1, seed=0)


@pytest.fixture(scope="session")
def model(interactions, small_config):
    return recgan.train(interactions, config=small_config)


@pytest.fixture(scope="session")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "model"
    model.save(place)
    return place

"""The miniature corpus as training sees it."""

import pytest

from trainables.data import TrainingData


@pytest.fixture(scope="session")
def data(shards) -> TrainingData:
    return TrainingData.open(("mdb",), shards, "onsets")

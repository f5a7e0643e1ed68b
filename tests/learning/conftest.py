"""Train the ensemble that several test files use, once in a session."""

import pytest
from trainings import SMALL, TARGET

from paperlib.learning.training import train_ensemble


@pytest.fixture(scope="session")
def trained():
    return train_ensemble(SMALL, TARGET)

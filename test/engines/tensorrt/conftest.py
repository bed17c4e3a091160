"""What the tests on the double of the CUDA driver share."""

import pytest


@pytest.fixture(scope="session")
def double(tmp_path_factory):
    return tmp_path_factory.mktemp("double")

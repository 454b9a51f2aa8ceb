import numpy as np
import pytest

from streams.models.extent import extent


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float64])
@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_the_least_and_the_greatest_are_numpys(dtype, size):
    numbers = np.random.default_rng(size).integers(-99, 99, size).astype(dtype)
    assert extent(numbers) == (numbers.min(), numbers.max())

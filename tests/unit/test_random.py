"""Every use of randomness has a number of its own."""

import numpy as np

from bayescale.random import Purpose, generator


def test_no_two_uses_share_their_random_numbers() -> None:
    values = [purpose.value for purpose in Purpose.__members__.values()]
    assert len(set(values)) == len(values)
    first = {generator(3, purpose).random() for purpose in Purpose}
    assert len(first) == len(values)


def test_numbers_are_those_of_seed_purpose_and_place() -> None:
    expected = np.random.default_rng([3, 2, 5]).random(4)
    assert (generator(3, Purpose.NEW_RUN, 5).random(4) == expected).all()


def test_drift_has_a_use_for_each_axis_and_direction() -> None:
    assert Purpose.drift(0, up=False) == 20
    assert Purpose.drift(1, up=True) == 23

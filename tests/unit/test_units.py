import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.errors import UnitError
from bayescale.plausible import require_plausible
from bayescale.units import (
    FLOP_PER_PF_DAY,
    as_size,
    checked_ci_prob,
    format_size,
    parse_size,
    unit_factor,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("70B", 70e9), ("1.4T", 1.4e12), ("5.76e23", 5.76e23), ("125m", 125e6), (" 2 K ", 2e3)],
)
def test_sizes_are_read_as_people_write_them(text: str, value: float) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize(
    ("text", "what", "value"),
    [
        ("1e22 FLOPs", "--flops", 1e22),
        ("1e22 FLOP", "target_flops", 1e22),
        ("70B params", "--params", 70e9),
        ("70b Parameters", "target_params", 70e9),
        ("1.4T tokens", "--max-tokens", 1.4e12),
        ("70 billion", "--params", 70e9),
        ("5 ZFLOPs", "--budget", 5e21),
        ("5TFLOP", "flops", 5e12),
        ("100 PF-days", "--flops", 100 * FLOP_PER_PF_DAY),
    ],
)
def test_a_unit_after_a_size_is_read_if_it_is_the_quantitys(
    text: str, what: str, value: float
) -> None:
    assert parse_size(text, what) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        ("70B tokens", "--params", "'tokens' is a unit of tokens: give params here"),
        ("1e22 FLOP", "--tokens", "'FLOP' is a unit of flops: give tokens here"),
        ("70B params", "--tokens-per-param", "takes no unit: leave it out"),
        ("1e15 FLOP", "--gpu-flops", "takes no unit: leave it out"),
    ],
)
def test_the_unit_of_another_quantity_is_refused(text: str, what: str, why: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_size(text, what)
    assert str(caught.value) == f"{what} is {text!r}, but {why}"


@pytest.mark.parametrize("text", ["7K M", "70Bparams", "1e22 FLOP/s", "3 apples"])
def test_words_that_are_no_unit_are_not_read(text: str) -> None:
    with pytest.raises(UnitError, match="which is not a size"):
        parse_size(text, "params")


@pytest.mark.parametrize(
    ("asked", "scale", "message"),
    [
        (70, "params", "`params=` is 70, but a run has 10,000 parameters or more: write 70M or "
         "70B if that is meant"),
        (1.4, "tokens", "`tokens=` is 1.4, but a run has 100,000 tokens or more: write 1.4B or "
         "1.4T if that is meant"),
        ([1e20, 22.5], "flops", "`flops=` is 22.5, but a run has 1e+09 FLOP or more: write 22.5 "
         "ZFLOP or 22.5 PF-day or 1e22.5 if that is meant"),
    ],
)  # fmt: skip
def test_sizes_of_no_run_are_asked_about(asked: object, scale: str, message: str) -> None:
    with pytest.raises(UnitError) as caught:
        require_plausible(asked, scale)
    assert str(caught.value) == message


def test_sizes_near_small_runs_are_plausible() -> None:
    require_plausible(70, "params", known=np.array([500.0, 7e3, np.nan]))
    with pytest.raises(UnitError, match="a run has 50 parameters or more"):
        require_plausible(7, "params", known=np.array([5e3]))
    require_plausible(None, "params")


@pytest.mark.parametrize("text", ["", "B", "7Q", "1,000", "0", "-3B", "inf", "nan", "1e400", "1_0"])
def test_what_is_not_a_positive_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(UnitError, match=r"^--params is ") as caught:
        parse_size(text, "--params")
    assert repr(text) in str(caught.value)


def test_message_of_a_bad_size_says_what_to_write() -> None:
    with pytest.raises(UnitError) as caught:
        parse_size("7Q", "--params")
    assert str(caught.value) == (
        "--params is '7Q', which is not a size: write a number, with K, M, B or T after it if "
        "you like, for example 70B, 1.4T or 5.76e23"
    )


@given(st.floats(min_value=1e3, max_value=9.99e14))
def test_a_formatted_size_reads_back_within_its_three_digits(value: float) -> None:
    assert parse_size(format_size(value)) == pytest.approx(value, rel=5.1e-3)


def test_a_petaflop_day_is_kaplans() -> None:
    assert FLOP_PER_PF_DAY == 8.64e19
    assert unit_factor("flops", "PF-day") == 8.64e19


def test_unknown_unit_lists_the_known_ones() -> None:
    with pytest.raises(UnitError) as caught:
        unit_factor("loss", "bananas")
    assert str(caught.value) == (
        "unit 'bananas' of column 'loss' is unknown: use nats, bits, bits_per_byte or perplexity, "
        "or a positive number such as 1e9"
    )


def test_as_size_takes_numbers_text_and_arrays_of_both() -> None:
    assert as_size(None) is None
    assert as_size("1.4T") == as_size(1.4e12) == as_size(np.float64(1.4e12)) == 1.4e12
    assert isinstance(as_size(np.array(7e9)), float)
    for several in (["7B", 7e10], ("7B", "70B"), np.array([7e9, 7e10]), pd.Series([7e9, 7e10])):
        np.testing.assert_array_equal(as_size(several), [7e9, 7e10])
    assert as_size([["7B", "70B"]]).shape == (1, 2)


@pytest.mark.parametrize("wrong", ["7 Q", 0.0, -1, math.inf, math.nan, 1e70, True, object()])
def test_as_size_names_the_value_and_its_place(wrong: object) -> None:
    with pytest.raises(UnitError, match="params is"):
        as_size(wrong, "params")
    with pytest.raises(UnitError, match=r"params\[1\] is"):
        as_size([1e9, wrong], "params")


def test_ci_prob_is_checked_in_one_place() -> None:
    assert checked_ci_prob(np.float64(0.5)) == 0.5
    for wrong in (0, 1, 2, 90, -0.1, math.nan, True, "0.9", None, [0.9]):
        with pytest.raises(ValueError, match=r"ci_prob is .*`ci_prob=0.9`"):
            checked_ci_prob(wrong)

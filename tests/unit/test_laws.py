"""The equations: published golden numbers, and what every law promises."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.published import (
    BESIROGLU,
    COMPUTE_OPTIMAL,
    FARSEER,
    HOFFMANN,
    HOFFMANN_UNROUNDED,
    HUBER_OPTIMUM,
    significant,
)

from bayescale.cards import ModelCard, card_names, load_card
from bayescale.errors import LawError, listed
from bayescale.laws import (
    BROKEN_TOKENS,
    CHINCHILLA,
    CHINCHILLA_OUTER,
    EXPERTS,
    KAPLAN,
    KAPLAN_COMPUTE,
    KAPLAN_IRREDUCIBLE,
    KAPLAN_PARAMS,
    KAPLAN_TOKENS,
    LAWS,
    SATURATING_TOKENS,
    UNIFIED,
    VOCABULARY,
    Amplitude,
    Balance,
    Constant,
    CriticalScale,
    Law,
    Term,
    compute_optimal,
    find_law,
)
from bayescale.laws.farseer import from_constants
from bayescale.laws.optimum import all_unique
from bayescale.runs import Runs
from bayescale.units import FLOP_PER_PF_DAY


@pytest.mark.parametrize(
    ("coefficients", "flops", "params", "tokens", "ratio", "loss"), COMPUTE_OPTIMAL
)
def test_compute_optimal_points_of_published_chinchilla_fits(
    coefficients: dict[str, float], flops: float, params: str, tokens: str, ratio: str, loss: str
) -> None:
    n, d = map(float, compute_optimal(CHINCHILLA, flops, coefficients))
    assert significant(n, params)
    assert significant(d, tokens)
    assert significant(d / n, ratio)
    assert significant(CHINCHILLA.loss(n, d, **coefficients), loss)


@pytest.mark.parametrize(
    ("coefficients", "chinchilla", "gopher"),
    [
        (HOFFMANN, "1.9366", "1.9933"),
        (HOFFMANN_UNROUNDED, "1.9208", "1.9672"),
        (BESIROGLU, "1.9739", "1.9996"),
        (HUBER_OPTIMUM, "1.9734", "1.9987"),
    ],
)
def test_losses_of_chinchilla_and_gopher(
    coefficients: dict[str, float], chinchilla: str, gopher: str
) -> None:
    assert significant(CHINCHILLA.loss(70e9, 1.4e12, **coefficients), chinchilla)
    assert significant(CHINCHILLA.loss(280e9, 300e9, **coefficients), gopher)


def test_losses_of_kaplans_published_laws() -> None:
    params = load_card("kaplan_params").published_values("kaplan_2020")
    tokens = load_card("kaplan_tokens").published_values("kaplan_2020")
    compute = load_card("kaplan_compute").published_values("kaplan_2020")
    optimal = load_card("kaplan_compute").published_values("kaplan_2020_compute_optimal")
    joint = load_card("kaplan").published_values("kaplan_2020")
    assert significant(KAPLAN_PARAMS.loss(1e9, **params), "2.3756")
    assert significant(KAPLAN_PARAMS.loss(1.5e9, **params), "2.3036")
    assert significant(KAPLAN_TOKENS.loss(22e9, **tokens), "2.0992")
    assert significant(KAPLAN_COMPUTE.loss(FLOP_PER_PF_DAY, **compute), "2.5742")
    assert significant(KAPLAN_COMPUTE.loss(FLOP_PER_PF_DAY, **optimal), "2.6581")
    assert significant(KAPLAN.loss(1e9, 1e10, **joint), "2.4197")
    assert significant(KAPLAN.loss(1e9, 1e300, **joint), "2.3188")


def test_the_cerebras_law_predicts_what_its_paper_prints() -> None:
    law = LAWS["henighan_compute"]
    values = load_card("henighan_compute").published_values("cerebras_gpt_2023")
    for flops, printed in ((2.6e18, "2.603"), (1.1e21, "1.849"), (2.3e22, "1.580")):
        # the paper's FLOP are rounded to two digits
        assert law.loss(flops, **values) == pytest.approx(float(printed), rel=2e-3)


@pytest.mark.parametrize("card", card_names())
def test_published_coefficients_of_the_cards_are_those_of_the_papers(card: str) -> None:
    published = load_card(card).published
    for key, values in {
        "hoffmann_2022": HOFFMANN,
        "hoffmann_2022_unrounded": HOFFMANN_UNROUNDED,
        "besiroglu_2024": BESIROGLU,
    }.items():
        if key in published:
            assert published[key].values == pytest.approx(values, rel=1e-8)


def language_models(card: ModelCard) -> ModelCard:
    """A card with priors relative to runs, made absolute for runs of 1e7 to 1e11 parameters."""
    params = np.geomspace(1e7, 1e11, 9)
    scales = {"params": params, "tokens": 20 * params, "flops": 120 * params**2}
    frame = pd.DataFrame({"run_id": map(str, range(9)), **scales, "loss": np.geomspace(4, 1.9, 9)})
    return card.anchored(Runs(frame=frame, columns={}))


def example(law: Law) -> tuple[dict[str, float], dict[str, float]]:
    """Realistic inputs and coefficients of a law: the medians of its prior."""
    drawn = language_models(load_card(law.name)).draw_prior(4001, seed=1)
    scales = {"params": 3e9, "tokens": 5e10, "flops": 9e20, "unique_tokens": 1e10}
    scales |= {"kept_fraction": 0.4, "lm_loss": 3.0}
    return (
        {name: scales[name] for name in law.inputs},
        {name: float(np.median(drawn[name])) for name in law.coefficients},
    )


@pytest.mark.parametrize(("law", "name"), [("downstream", "lm_loss"), ("pruned", "kept_fraction")])
def test_what_is_better_when_there_is_less_of_it(law: str, name: str) -> None:
    """The error falls as the loss does; as many tokens are better if less of the data is kept."""
    inputs, values = example(LAWS[law])
    less = inputs | {name: 0.5 * inputs[name]}
    assert 0 < LAWS[law].loss(**less, **values) < LAWS[law].loss(**inputs, **values)


@pytest.mark.parametrize(
    "law", [law for law in LAWS.values() if law.optimum], ids=lambda law: law.name
)
def test_no_other_split_of_the_budget_beats_the_optimum(law: Law) -> None:
    _, values = example(law)
    params, tokens = compute_optimal(law, 1e22, values)

    def loss(factor: float) -> float:
        scales = {"params": params * factor, "tokens": tokens / factor}
        return float(law.loss(**all_unique(law.inputs, scales), **values))

    for factor in np.geomspace(0.01, 100, 41):
        assert loss(factor) >= loss(1.0) * (1 - 1e-12)


def test_the_unified_law_contains_chinchillas_sum_and_kaplans_joint_form() -> None:
    params, tokens = np.geomspace(1e7, 1e11, 5), np.geomspace(1e12, 1e9, 5)
    besiroglu = load_card("chinchilla").published_values("besiroglu_2024")
    ours = UNIFIED.loss(params, tokens, **besiroglu, kappa=1.0)
    np.testing.assert_allclose(ours, CHINCHILLA.loss(params, tokens, **besiroglu), rtol=1e-13)
    kaplan = {"E": 1.3, "N_c": 6e13, "alpha_N": 0.076, "D_c": 1.8e13, "alpha_D": 0.103}
    joint = {"A": 6e13**0.076, "alpha": 0.076, "B": 1.8e13**0.103, "beta": 0.103, "kappa": 0.103}
    np.testing.assert_allclose(
        UNIFIED.loss(params, tokens, E=1.3, **joint),
        KAPLAN_IRREDUCIBLE.loss(params, tokens, **kaplan),
        rtol=1e-12,
    )


def test_a_law_of_one_scale_cannot_split_a_budget() -> None:
    with pytest.raises(LawError) as caught:
        compute_optimal(KAPLAN_PARAMS, 1e22, {"N_c": 8.8e13, "alpha_N": 0.076})
    assert str(caught.value) == (
        "law 'kaplan_params' is a function of params, so it cannot split a budget: use a law of "
        "params and tokens, such as chinchilla or kaplan"
    )


BALANCE = Balance(input="x", against="y", against_coefficient="Y", power="b", root="a")
TERMS = [
    Constant(), Amplitude(input="x", exponent="a"), CriticalScale(input="x", exponent="a"), BALANCE,
]  # fmt: skip


@pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)
def test_a_terms_size_and_its_coefficient_are_inverse(term: Term) -> None:
    known, log_x = {"a": 0.4, "b": 0.3, "Y": 20.0}, {"x": 7.0, "y": 2.0}
    there = term.log_value(3.1, known, log_x)
    assert term.log_coefficient(there, known, log_x) == pytest.approx(3.1)
    step = (term.log_value(3.1 + 1e-6, known, log_x) - there) / 1e-6
    assert step == pytest.approx(term.slope(known), rel=1e-6)


def test_a_balance_says_which_scale_limits_a_joint_part() -> None:
    """Kaplan's joint part is T (1 + balance)^alpha_D, with T the part at unlimited data."""
    values = {"E": 0.0, "N_c": 3e8, "alpha_N": 0.25, "D_c": 7e9, "alpha_D": 0.28}
    log_x = {"params": np.log(1e9), "tokens": np.log(2e10)}
    term = KAPLAN_IRREDUCIBLE.terms["D_c"]
    balance = np.exp(term.log_value(np.log(values["D_c"]), values, log_x))
    unlimited = (values["N_c"] / 1e9) ** values["alpha_N"]
    joint = KAPLAN_IRREDUCIBLE.loss(1e9, 2e10, **values)
    assert joint == pytest.approx(unlimited * (1 + balance) ** values["alpha_D"])


def test_a_saturating_law_is_level_below_its_onset_and_a_power_law_above() -> None:
    values = {"E": 1e-12, "A": 10.0, "alpha": 0.5, "x_0": 1e6, "k_0": 2.0, "k_E": 1.0}
    law = SATURATING_TOKENS.loss
    assert law(1e2, **values) == pytest.approx(10.0 * 1e6**-0.5, rel=1e-3)
    assert law(1e12, **values) == pytest.approx(10.0 * 1e12**-0.5, rel=1e-3)
    assert law(1e6, **values) == pytest.approx(10.0 * (2 * 1e6) ** -0.5)  # 2^(-1/k_0) below
    floor = values | {"E": 0.3, "k_E": 3.0}
    reducible = law(1e8, **values)
    assert law(1e8, **floor) == pytest.approx((0.3**3 + reducible**3) ** (1 / 3))


def test_a_broken_law_changes_its_exponent_once() -> None:
    values = {"E": 1e-12, "A": 10.0, "alpha": 0.2, "x_b": 1e9, "bend": 2.5, "w": 0.3}
    law = BROKEN_TOKENS.loss
    for x, exponent in ((1e4, 0.2), (1e15, 0.5)):
        slope = np.log(law(x * 1.01, **values) / law(x, **values)) / np.log(1.01)
        assert slope == pytest.approx(-exponent, abs=1e-3)
    straight = law(1e15, **(values | {"bend": 1.0}))
    assert straight == pytest.approx(10.0 * 1e15**-0.2)


def test_outer_exponent_of_one_is_chinchillas_law() -> None:
    inner = CHINCHILLA.loss(7e9, 1e11, **BESIROGLU)
    assert CHINCHILLA_OUTER.loss(7e9, 1e11, kappa=1.0, **BESIROGLU) == pytest.approx(inner)
    reducible = inner - BESIROGLU["E"]
    bent = CHINCHILLA_OUTER.loss(7e9, 1e11, kappa=0.77, **BESIROGLU)
    assert bent == pytest.approx(BESIROGLU["E"] + reducible**0.77)


def as_printed(n: float, d: float) -> float:
    """The equation of Li et al. 2025 with its constants."""
    c = FARSEER
    floor = np.exp(c["s"] * n ** c["q"] + c["S"])
    size = np.exp(c["B"] * n ** c["b"] + c["Q"])
    return floor + size * d ** -np.exp(c["A"] * n ** c["a"] + c["E"])


@pytest.mark.parametrize(
    ("params", "tokens", "loss"),
    [(1e8, 1e9, "0.7348"), (1e9, 2e10, "0.5394"), (6.37e9, 3.04e11, "0.4383")],
)
def test_farseer_is_the_equation_of_its_paper(params: float, tokens: float, loss: str) -> None:
    values = from_constants(**FARSEER)
    stated = LAWS["farseer"].loss(params, tokens, **values)
    assert stated == pytest.approx(as_printed(params, tokens), rel=1e-8)
    assert significant(stated, loss)


def test_farseers_constants_forecast_the_run_of_25_billion_params() -> None:
    """The run that the paper holds out: it reached 0.4381 bits per character."""
    values = from_constants(**FARSEER)
    loss = LAWS["farseer"].loss(2.512077e10, 1.255997e11, **values)
    assert significant(loss, "0.4402")
    assert loss / 0.438146 - 1 == pytest.approx(0.0047, abs=5e-5)


def test_farseers_best_tokens_per_parameter_grow_with_compute() -> None:
    """Best splits are those near the runs, although an unlimited model on one token loses less."""
    values = from_constants(**FARSEER)
    flops = np.array([1e20, 1e21, 1e22, 1e23])
    params, tokens = compute_optimal(LAWS["farseer"], flops, values)
    ratios = tokens / params
    assert [f"{ratio:.3g}" for ratio in ratios] == ["25", "26.5", "40.6", "84.2"]
    near = np.geomspace(1e8, 1e11, 30_001)[:, None]
    found = near[np.argmin(as_printed(near, flops / 6 / near), axis=0), 0]
    assert params == pytest.approx(found, rel=2e-4)
    best = LAWS["farseer"].loss(params, tokens, **values)
    assert (LAWS["farseer"].loss(flops / 6, 1.0, **values) < best).all()


def test_farseer_with_factors_of_one_is_chinchillas_law_without_a_constant() -> None:
    sizes, tokens = np.geomspace(1e7, 1e12, 6), np.geomspace(1e12, 1e8, 6)
    factors = ("alpha_tenfold", "V_tenfold", "V_bend", "beta_tenfold", "beta_bend")
    values = {"U": 2.0, "alpha": 0.08, "V": 0.3, "beta": 0.35, **dict.fromkeys(factors, 1.0)}
    terms = {"A": 2.0 * 1e9**0.08, "B": 0.3 * 2e10**0.35, "alpha": 0.08, "beta": 0.35}
    expected = CHINCHILLA.loss(sizes, tokens, E=0.0, **terms)
    assert LAWS["farseer"].loss(sizes, tokens, **values) == pytest.approx(expected, rel=1e-8)


def test_farseers_coefficients_are_what_the_card_says_they_are() -> None:
    """The loss with unlimited tokens, that due to 2e10 of them, and exponents, at 1e9 params."""
    _, values = example(LAWS["farseer"])
    loss, n = LAWS["farseer"].loss, 1e9
    floor = loss(n, 1e300, **values)
    assert floor == pytest.approx(values["U"])
    assert loss(n, 2e10, **values) - floor == pytest.approx(values["V"])
    e = 1e-4

    def slope(f, x: float) -> float:
        return float(np.log(f(x * (1 + e)) / f(x * (1 - e))) / (2 * e))

    def of_data(n: float, d: float) -> float:
        return loss(n, d, **values) - loss(n, 1e300, **values)

    assert slope(lambda n: loss(n, 1e300, **values), n) == pytest.approx(-values["alpha"], rel=1e-4)
    assert slope(lambda n: of_data(n, 2e10), n) == pytest.approx(np.log10(values["V_tenfold"]))

    def beta(n: float) -> float:
        return -slope(lambda d: of_data(n, d), 2e10)

    assert beta(n) == pytest.approx(values["beta"], rel=1e-4)
    assert slope(beta, n) == pytest.approx(np.log10(values["beta_tenfold"]), rel=1e-3)

    def alpha(n: float) -> float:
        return -slope(lambda n: loss(n, 1e300, **values), n)

    assert slope(alpha, n) == pytest.approx(np.log10(values["alpha_tenfold"]), rel=1e-3)


def test_a_law_is_checked_when_it_is_made() -> None:
    with pytest.raises(LawError) as caught:
        Law(
            name="bad",
            inputs=("params",),
            coefficients=("A",),
            loss=lambda params, *, B: B / params,
        )
    assert str(caught.value) == (
        "law 'bad' is ill-defined: loss takes (params, *, B) but needs (params, *, A)"
    )
    with pytest.raises(LawError, match="loss is not the sum of the terms"):
        Law(
            name="bad",
            inputs=("params",),
            coefficients=("A", "a"),
            loss=lambda params, *, A, a: 1 + A / params**a,
            terms={"A": Amplitude(input="params", exponent="a")},
            sum_of_terms=True,
        )
    for root in ("N_c", "alpha"):  # a term's, and no coefficient
        with pytest.raises(LawError) as caught:
            replace(LAWS["kaplan"], root=root)
        assert str(caught.value) == (
            f"law 'kaplan' is ill-defined: root is {root!r}, but must be a coefficient that has "
            "no term, of a law with sum_of_terms=True"
        )
    with pytest.raises(LawError, match="loss is not the sum of the terms"):
        replace(LAWS["kaplan"], root="alpha_N")
    with pytest.raises(LawError, match="inputs are"):
        Law(name="bad", inputs=("size",), coefficients=("A",), loss=lambda size, *, A: A / size)


def test_an_unknown_law_lists_the_known_ones() -> None:
    with pytest.raises(LawError) as caught:
        find_law("chinchila")
    assert str(caught.value) == (
        f"law 'chinchila' is unknown: use one of {listed(LAWS, 8)}, or your own as file.py:NAME; "
        "did you mean 'chinchilla'?"
    )


def test_experts_count_from_a_dense_model_up_to_a_limit() -> None:
    values = {"E": 1.4, "A": 20.0, "alpha": 0.2, "gamma": 0.1, "E_start": 2.0, "E_max": 500.0}
    dense = 1.4 + 20.0 / 1e8**0.2 / 2.0**0.1
    assert EXPERTS.loss(1e8, 1.0, **values) == pytest.approx(dense)
    assert EXPERTS.loss(1e8, 1e12, **values) == pytest.approx(1.4 + 20.0 / 1e8**0.2 / 500.0**0.1)
    # 64 experts: 1 / (63 + 1 / (1/2 - 1/500)) + 1 / 500
    counted = 1 / (1 / (63 + 1 / 0.498) + 0.002)
    assert EXPERTS.loss(1e8, 64.0, **values) == pytest.approx(1.4 + 20.0 / 1e8**0.2 / counted**0.1)


def test_a_larger_vocabulary_helps_and_asks_for_more_data() -> None:
    values = {"E": 7.0, "A": 60.0, "alpha": 0.25, "K": 20.0, "gamma": 0.3, "B": 9e3, "beta": 0.45,
              "phi": 0.15}  # fmt: skip

    def gain(characters: float) -> float:
        small, large = (VOCABULARY.loss(1e9, v, characters, **values) for v in (8e3, 64e3))
        return float(np.log(small / large))

    assert gain(1e8) < 0 < gain(1e12)
    at = VOCABULARY.loss(1e9, 32768.0, 1e10, **values)
    by_hand = -7.0 + 60.0 / 1e9**0.25 + 20.0 / 32768**0.3 + 9e3 / 1e10**0.45
    assert np.log(at) == pytest.approx(by_hand)


def test_an_outer_exponent_is_that_of_its_terms() -> None:
    known = {"alpha": 0.4, "kappa": 0.8}
    size = CHINCHILLA_OUTER.terms["A"].log_value(np.log(400.0), known, {"params": np.log(1e9)})
    assert np.exp(size) == pytest.approx((400.0 / 1e9**0.4) ** 0.8)

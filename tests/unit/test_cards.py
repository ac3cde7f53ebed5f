"""Model cards: what they promise of the prior, and what a wrong card is told."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayescale.cards import (
    ModelCard,
    NearOne,
    Prior,
    card_names,
    choose_card,
    load_card,
    parse_card,
)
from bayescale.errors import CardError, listed
from bayescale.laws import LAWS, Law
from bayescale.runs import Runs, read_runs

CARD = load_card("chinchilla").text
RUNS = Runs(
    frame=pd.DataFrame(
        {
            "run_id": ["a", "b", "c"],
            "params": [1e8, 1e9, 1e10],
            "tokens": [1e9, 1e10, 1e11],
            "flops": [6e17, 6e19, 6e21],
            "loss": [4.0, 2.0, 1.0],
        }
    ),
    columns={},
)


def relative(name: str) -> bool:
    return any(described.prior.relative for described in load_card(name).coefficients.values())


def test_every_law_has_a_card_and_every_card_a_known_law() -> None:
    assert {load_card(name).law.name for name in card_names()} == set(LAWS)
    assert set(LAWS) <= set(card_names())


OTHER_LOSSES = ("downstream", "vocabulary")  # an error, and a ratio of perplexities
ABSOLUTE = [n for n in card_names() if not relative(n) and n not in OTHER_LOSSES]


@pytest.mark.parametrize("name", ABSOLUTE)
def test_prior_losses_are_those_of_language_models(name: str) -> None:
    """Between 0.5 and 15 nats for 95 % of draws at every size from 1e7 to 1e12 parameters."""
    card = load_card(name)
    drawn = card.draw_prior(20_000, seed=1)
    values = {coefficient: drawn[coefficient] for coefficient in card.law.coefficients}
    for params in 10.0 ** np.arange(7, 13):
        scales = {"params": params, "tokens": 20 * params, "flops": 120 * params**2}
        scales |= {"unique_tokens": scales["tokens"], "kept_fraction": 0.3, "experts": 8.0}
        with np.errstate(invalid="ignore"):  # E_start above E_max is no law, and counts as outside
            loss = card.law.loss(**{i: scales[i] for i in card.law.inputs}, **values)
        assert np.mean((loss > 0.5) & (loss < 15)) > 0.95, f"at {params:g} parameters"


def test_prior_errors_fall_from_guessing_and_are_shares() -> None:
    card = load_card("downstream")
    drawn = card.draw_prior(20_000, seed=1)
    values = {coefficient: drawn[coefficient] for coefficient in card.law.coefficients}
    for lm_loss, median in ((6.0, 0.69), (3.0, 0.58), (2.5, 0.51)):
        errors = card.law.loss(lm_loss, **values)
        assert np.median(errors) == pytest.approx(median, abs=0.02)
        assert np.mean((errors > 0) & (errors < 1)) > 0.95


@pytest.mark.parametrize("name", [n for n in card_names() if relative(n)])
def test_relative_priors_hold_the_typical_loss_at_the_typical_run(name: str) -> None:
    """The runs' geometric means: 2 of loss, at 1e9 params, 1e10 tokens and 6e19 FLOP."""
    card = load_card(name).anchored(RUNS)
    assert not any(described.prior.relative for described in card.coefficients.values())
    drawn = card.draw_prior(20_000, seed=1)
    scales = {"params": 1e9, "tokens": 1e10, "flops": 6e19}
    values = {coefficient: drawn[coefficient] for coefficient in card.law.coefficients}
    loss = card.law.loss(**{i: scales[i] for i in card.law.inputs}, **values)
    low, middle, high = np.quantile(loss / 2.0, [0.05, 0.5, 0.95])
    assert 0.2 < low < 1 < high < 5
    assert 0.5 < middle < 2


def test_a_place_across_the_runs_goes_from_the_smallest_to_the_largest() -> None:
    prior = load_card("broken_tokens").anchored(RUNS).coefficients["x_b"].prior
    assert prior.low == pytest.approx(1e9 * 100**-0.08)
    assert prior.high == pytest.approx(1e9 * 100**1.08)


def test_a_relative_prior_has_no_density_before_the_runs_are_known() -> None:
    message = r"no density without runs: take the card's anchored\(runs\)"
    with pytest.raises(CardError, match=message):
        load_card("broken_tokens").draw_prior(10, seed=1)


def test_a_balance_relative_to_the_runs_is_stated_at_their_typical_scales() -> None:
    """It is a ratio of two parts, so the runs' loss does not move it."""
    stated = "{ at = { params = 1e9, tokens = 2e10 }, low = 0.2, high = 5.0 }"
    text = load_card("kaplan_irreducible").text
    relative = parse_card(text.replace(stated, '{ at = "runs", low = 0.2, high = 5.0 }'))
    assert relative.text != text
    prior = relative.anchored(RUNS).coefficients["D_c"].prior
    assert prior.at == pytest.approx({"params": 1e9, "tokens": 1e10})
    assert (prior.low, prior.high) == (0.2, 5.0)


def expected_of(name: str) -> dict[str, float]:
    """Medians of a card's prior: reducible loss at 1e9 params on 2e10 tokens, and its decline."""
    card = load_card(name)
    drawn = {k: v for k, v in card.draw_prior(20_000, seed=1).items() if k in card.coefficients}
    here, further = (card.law.loss(1e9 * by, 2e10 * by, **drawn) for by in (1.0, 10**0.5))
    return {
        "reducible": float(np.median(here - drawn["E"])),
        "decline": float(np.median(np.log(here / further))),
    }


def test_both_forms_of_the_law_expect_the_same_losses_before_any_run() -> None:
    """Size and data join in one form and add up in the other, so equal terms are not enough."""
    joint, summed = expected_of("kaplan_irreducible"), expected_of("chinchilla")
    assert joint["reducible"] == pytest.approx(summed["reducible"], rel=0.1)
    assert joint["decline"] == pytest.approx(summed["decline"], rel=0.1)


def test_near_one_is_the_law_of_a_stretched_normal() -> None:
    """At one standard deviation its logarithm is the scale."""
    from scipy import integrate

    near = NearOne(0.4)
    assert near.ppf(stats.norm.cdf(1.0)) == pytest.approx(np.exp(0.4))
    inside = integrate.quad(lambda u: np.exp(near.logpdf(np.exp(u)) + u), 0, 0.4, limit=200)[0]
    assert inside == pytest.approx(stats.norm.cdf(1.0) - 0.5, rel=1e-3)
    drawn = near.rvs(20_000, np.random.default_rng(1))
    assert np.mean(abs(np.log(drawn)) < 0.4) == pytest.approx(0.6827, abs=0.014)


@pytest.mark.parametrize("name", card_names())
def test_every_quantity_of_a_card_says_what_it_is_and_why(name: str) -> None:
    card = load_card(name)
    described = card.parameters.values()
    for item in (*described, *card.family.values()):
        assert item.unit
        assert len(item.meaning) > 10
        assert len(item.why) > 20
    assert card.references


def test_low_and_high_hold_ninety_per_cent_of_a_log_normal() -> None:
    prior = Prior(low=0.5, high=2.5)
    assert prior.frozen.ppf([0.05, 0.95]) == pytest.approx([0.5, 2.5])
    assert prior.frozen.ppf(0.5) == pytest.approx(math.sqrt(0.5 * 2.5))


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ({"dist": "LogNormal", "kwargs": {"mu": 1, "sigma": 2}}, stats.lognorm(2, scale=math.e)),
        ({"dist": "HalfNormal", "kwargs": {"sigma": 2}}, stats.halfnorm(scale=2)),
        ({"dist": "Gamma", "kwargs": {"alpha": 2, "beta": 4}}, stats.gamma(2, scale=0.25)),
        ({"dist": "Beta", "kwargs": {"alpha": 2, "beta": 4}}, stats.beta(2, 4)),
        ({"dist": "Exponential", "kwargs": {"lam": 4}}, stats.expon(scale=0.25)),
        ({"dist": "Uniform", "kwargs": {"lower": 1, "upper": 4}}, stats.uniform(1, 3)),
        (
            {"dist": "TruncatedNormal", "kwargs": {"mu": 1, "sigma": 2, "lower": 0}},
            stats.truncnorm(-0.5, np.inf, loc=1, scale=2),
        ),
    ],
)
def test_named_distributions_mean_what_pymc_means(prior: dict, expected: object) -> None:
    import pymc as pm

    x = np.array([0.2, 0.9, 1.7])
    ours = Prior.model_validate(prior)
    np.testing.assert_allclose(ours.frozen.logpdf(x), expected.logpdf(x))
    theirs = getattr(pm, prior["dist"]).dist(**prior["kwargs"])
    np.testing.assert_allclose(ours.frozen.logpdf(x), pm.logp(theirs, x).eval(), rtol=1e-6)


def test_prior_on_a_term_is_met_at_its_anchor() -> None:
    """The card's belief is about A / N^alpha at 1e9 parameters, so draws must honour it there."""
    card = load_card("chinchilla")
    drawn = card.draw_prior(40_000, seed=5)
    term = drawn["A"] / 1e9 ** drawn["alpha"]
    stated = card.coefficients["A"].prior
    assert np.quantile(term, [0.05, 0.95]) == pytest.approx([stated.low, stated.high], rel=0.03)
    assert abs(np.corrcoef(np.log(term), np.log(drawn["alpha"]))[0, 1]) < 0.02


def test_compute_is_published_in_petaflop_days_and_flop_inside() -> None:
    card = load_card("kaplan_compute")
    assert card.published["kaplan_2020"].values["C_c"] == 1.6e7
    assert card.published_values("kaplan_2020")["C_c"] == 1.6e7 * 8.64e19


def test_published_prior_holds_the_published_fit() -> None:
    card = load_card("chinchilla_published")
    drawn = card.draw_prior(20_000, seed=2)
    published = load_card("chinchilla").published_values("besiroglu_2024")
    # the card's reasons: bootstrap standard deviations of the logs, doubled
    for name, sd in {"E": 0.0288, "alpha": 0.084, "beta": 0.113}.items():
        logs = np.log(drawn[name])
        assert logs.mean() == pytest.approx(math.log(published[name]), abs=0.6 * sd)
        assert logs.std() == pytest.approx(sd, rel=0.1)
    for name in ("A", "B"):
        low, high = np.quantile(drawn[name], [0.05, 0.95])
        assert low < published[name] < high


def wrong(old: str, new: str) -> str:
    assert old in CARD
    with pytest.raises(CardError) as caught:
        parse_card(CARD.replace(old, new, 1), place="mine.toml")
    return str(caught.value)


def test_all_problems_of_a_card_are_reported_together() -> None:
    text = CARD.replace("[coefficients.beta]", "[coefficients.betta]").replace("title =", "titel =")
    text = text.replace("low = 0.5, high = 2.5", "low = 2.5, high = 0.5")
    with pytest.raises(CardError) as caught:
        parse_card(text, place="mine.toml")
    assert str(caught.value) == (
        "mine.toml cannot be used:\n"
        "  - title is missing\n"
        "  - coefficients.E.prior: low is 2.5, but must be below high, 0.5\n"
        "  - titel is an unknown key: leave it out"
    )


def test_a_misspelt_coefficient_is_named_with_those_of_the_law() -> None:
    assert wrong("[coefficients.beta]", "[coefficients.betta]") == (
        "mine.toml cannot be used:\n"
        "  - coefficients.beta is missing: law 'chinchilla' needs a prior on it\n"
        "  - coefficients.betta is not a coefficient of law 'chinchilla', which has E, A, alpha, "
        "B, beta"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('law = "chinchilla"', 'law = "chinchila"', "mine.toml is for law 'chinchila', which is"),
        ('dist = "StudentT"', 'dist = "Cauchy"', "noise.dist is 'Cauchy': input should be 'Stud"),
        ('dist = "StudentT"', 'dist = "Normal"', "StudentT needs a prior on nu, and Normal must"),
        ("low = 0.5, high = 2.5", "low = 0.5", "low and high must be stated together"),
        ("low = 0.5, high = 2.5", "low = -1, high = 2", "low is -1, but must be greater than zero"),
        (
            "low = 0.5, high = 2.5",
            'across = "params", low = 0, high = 1',
            "coefficients.E cannot have a prior across the runs' params: only a coefficient that "
            "is a value",
        ),
        (
            "low = 0.18, high = 0.6",
            "at = 1e9, low = 0.18, high = 0.6",
            "coefficients.alpha has no scale to state a prior at",
        ),
        (
            'along = ["flops"]',
            'along = ["epochs"]',
            "drift.along names 'epochs', but law 'chinchilla' can only drift along flops, params, "
            "tokens",
        ),
        ('walk = "slope"', 'walk = "drunk"', "drift.walk is 'drunk': input should be 'level' or"),
        ("fades_over = 4", "fades_over = 0", "drift.fades_over is 0: input should be greater than"),
        (
            'walk = "slope"',
            'walk = "level"',
            'drift: fades_over needs walk = "slope": state that, or leave fades_over out',
        ),
        ("low = 0.5, high = 2.5", "low = 0.5, hihg = 2", "coefficients.E.prior.hihg is an unkn"),
        (
            "low = 0.5, high = 2.5",
            'dist = "Nromal"',
            "distribution 'Nromal' is unknown: use LogNormal",
        ),
        (
            "low = 0.5, high = 2.5",
            'dist = "Uniform", kwargs = { lower = -1, upper = 2 }',
            "coefficients.E.prior: Uniform needs lower of zero or more, because the quantity is "
            "positive; given -1",
        ),
        ("low = 0.5, high = 2.5", 'dist = "Gamma"', "Gamma takes kwargs alpha, beta; given none"),
        ("low = 0.5, high = 2.5", "at = 1e9, low = 1, high = 2", "E has no scale to state a prior"),
        ("[family.E]", "[family.alpha]", "family.alpha cannot differ between families: only"),
        ("E = 1.69\n", "", "published.hoffmann_2022 must give a number for each of E, A, alpha"),
        ('unit = "nats/token"', "unit = 7", "coefficients.E.unit is 7: input should be a valid"),
        ("[noise]", "[noise", "mine.toml is not valid TOML"),
    ],
)
def test_each_mistake_in_a_card_has_its_own_message(old: str, new: str, message: str) -> None:
    assert message in wrong(old, new)


def test_an_unknown_card_lists_those_that_exist() -> None:
    with pytest.raises(CardError) as caught:
        load_card("chinchila")
    assert str(caught.value) == (
        f"model card 'chinchila' is unknown: use one of {listed(card_names(), 8)}, or a path "
        "ending in .toml; did you mean 'chinchilla'?"
    )
    message = r"^model card 'nowhere.toml' does not exist: correct the path$"
    with pytest.raises(CardError, match=message):
        load_card("nowhere.toml")


def test_opening_a_card_never_runs_code(tmp_path) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text("raise SystemExit('ran')")
    with pytest.raises(CardError, match=r"`law=`: .* file\.py:NAME"):
        parse_card(CARD.replace('law = "chinchilla"', f'law = "{spy}:LAW"'))


def runs_with(**columns: list[float]) -> Runs:
    import pandas as pd

    return read_runs(pd.DataFrame(columns | {"loss": [3.0, 2.5]}))


@pytest.mark.parametrize(
    ("columns", "card"),
    [
        ({"params": [1e9, 2e9], "tokens": [2e10, 4e10]}, "unified"),
        ({"flops": [1e20, 4e20]}, "henighan_compute"),
        ({"params": [1e9, 2e9]}, "henighan_params"),
        ({"tokens": [2e10, 4e10]}, "henighan_tokens"),
    ],
)
def test_without_a_law_the_columns_choose_the_card(columns: dict, card: str) -> None:
    assert choose_card(runs_with(**columns)).name == card


def test_a_card_for_another_law_is_refused() -> None:
    with pytest.raises(CardError) as caught:
        choose_card(runs_with(params=[1e9, 2e9]), "henighan_params", "chinchilla")
    assert str(caught.value) == (
        "card 'chinchilla' is for law 'chinchilla', not for law 'henighan_params': name one for "
        "this law, or leave the law out"
    )


def test_an_own_law_works_with_a_card_that_names_it() -> None:
    from dataclasses import replace

    own: Law = replace(LAWS["chinchilla"], name="mine")
    card = parse_card(CARD.replace('law = "chinchilla"', 'law = "mine"'), law=own)
    assert isinstance(card, ModelCard)
    assert card.law is own
    with pytest.raises(CardError, match="needs a card of priors"):
        choose_card(runs_with(params=[1e9, 2e9]), own)

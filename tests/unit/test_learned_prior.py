"""Priors learned from earlier fits: where they lie, how wide they are, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.published import BESIROGLU
from support.refits import built, even_normal

from bayescale.cards import load_card
from bayescale.cards.learned import Seen, learned_card, predictive
from bayescale.errors import PosteriorError
from bayescale.posterior import Posterior, save
from bayescale.posterior.learned import prior_from
from bayescale.runs import read_runs

CARD = load_card("chinchilla")


def seen(*means: float, sd: float = 0.05) -> Seen:
    return Seen(np.array(means), np.full(len(means), sd))


def test_logs_that_agree_move_the_prior_to_them_and_narrow_it() -> None:
    mean, sd = predictive(seen(1.0, 1.02, 0.98, 1.01, 0.99), 0.0, 1.0)
    assert mean == pytest.approx(1.0, abs=0.05)
    assert sd < 0.5


def test_logs_that_are_unlike_leave_it_wide() -> None:
    alike, unlike = (predictive(seen(*x), 0.0, 1.0)[1] for x in ((0.5, 0.5, 0.5), (-0.6, 1.6, 0.5)))
    assert unlike > 1.5 * alike


def test_one_log_moves_the_prior_part_of_the_way_and_its_tails_stay() -> None:
    mean, sd = predictive(seen(1.5), 0.0, 1.0)
    assert 0.5 < mean < 1.4
    assert sd > 0.6


@pytest.mark.parametrize("means", [(0.5,), (3.0,), (-2.0, 2.0)])
def test_one_or_two_logs_never_make_a_prior_wider_than_the_card(means: tuple[float, ...]) -> None:
    assert predictive(seen(*means), 0.0, 1.0)[1] <= 1.0


def test_a_log_that_says_nothing_leaves_the_prior_where_it_is() -> None:
    mean, sd = predictive(seen(5.0, sd=50.0), 0.3, 1.0)
    assert mean == pytest.approx(0.3, abs=0.02)
    assert sd == pytest.approx(1.0)


def test_the_card_states_the_learned_priors_at_the_scales_of_the_old_one() -> None:
    made = learned_card(CARD, {"A": seen(np.log(0.5)), "alpha": seen(np.log(0.3))}, ["mine.csv"])
    assert made.name == "chinchilla_learned"
    prior = made.coefficients["A"].prior
    assert prior.at == 1e9
    assert prior.low < 0.5 < prior.high
    assert made.coefficients["B"] == CARD.coefficients["B"]
    assert "Learned from mine.csv (medians 0.3)" in made.coefficients["alpha"].why
    assert made.noise == CARD.noise
    assert made.drift == CARD.drift


def fitted(scale: float = 1.0) -> Posterior:
    params = np.geomspace(1e8, 1e10, 9)
    values = BESIROGLU | {"E": even_normal(BESIROGLU["E"] * scale, 0.02)}
    law = BESIROGLU | {"E": BESIROGLU["E"] * scale}
    loss = CARD.law.loss(params, 20 * params, **law)
    frame = pd.DataFrame({"params": params, "tokens": 20 * params, "loss": loss})
    runs = read_runs(frame.assign(run_id=[f"r{i}" for i in range(9)]))
    return built(CARD, runs, values | {"sigma": 0.003, "nu": 20.0})


def test_terms_are_learned_at_the_scale_at_which_the_card_states_them() -> None:
    made = prior_from([fitted(), fitted(1.05)])
    term = BESIROGLU["A"] / 1e9 ** BESIROGLU["alpha"]
    prior = made.coefficients["A"].prior
    assert np.sqrt(prior.low * prior.high) == pytest.approx(term, rel=0.1)
    e = made.coefficients["E"].prior
    assert np.log(e.high / e.low) < np.log(2.5 / 0.5)


def test_fits_that_cannot_be_learned_from_say_why() -> None:
    with pytest.raises(PosteriorError, match="of the same log, which would count twice"):
        prior_from([fitted(), fitted()])
    with pytest.raises(PosteriorError, match="of chinchilla, and the card is for unified: fit"):
        prior_from([fitted()], load_card("unified"))
    with pytest.raises(PosteriorError, match="no fit is given"):
        prior_from([])


def test_no_log_counts_twice_by_way_of_a_card() -> None:
    first, second = fitted(), fitted(1.05)
    once = prior_from([first])
    assert once.learned_from == (first.runs.digest,)
    with pytest.raises(PosteriorError, match=r"twice \(.*, in card chinchilla_learned\)"):
        prior_from([first, second], once)
    with pytest.raises(PosteriorError, match="would count twice"):
        prior_from([first, replace(second, card=once)])
    both = prior_from([second], once)
    assert both.learned_from == (first.runs.digest, second.runs.digest)
    assert both.name == "chinchilla_learned"
    assert load_card("chinchilla").learned_from == ()


def test_the_command_writes_a_card_that_can_be_used(bayescale, tmp_path: Path) -> None:
    paths = []
    for i, scale in enumerate((1.0, 1.1)):
        paths.append(tmp_path / f"{i}.nc")
        save(fitted(scale), paths[-1])
    card = tmp_path / "mine.toml"
    ran = bayescale("prior", *paths, "-o", card, "--json")
    assert ran.code == 0
    assert set(ran.json["priors"]) == {"E", "A", "alpha", "B", "beta"}
    assert load_card(card).law.name == "chinchilla"

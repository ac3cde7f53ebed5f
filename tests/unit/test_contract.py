"""The contract of laws: every law of the package keeps it, and each way to break it is reported."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Ran

from bayescale.cards import ModelCard, card_names, laws_with_cards, load_card
from bayescale.contract import CHECKS, Contract, check_law
from bayescale.errors import CardError, LawError, RunLogError
from bayescale.inference.model.transforms import LevelAndShares
from bayescale.laws import CHINCHILLA, LAWS, Law, find_law
from bayescale.runs import Runs

NOISE = load_card("chinchilla").text.split("[noise]")[1].split("[drift]")[0]
HEAD = """from bayescale.laws import Amplitude, Constant, Law
import math
import numpy as np

"""
ONE_SCALE = '{"E": Constant(), "A": Amplitude(input="params", exponent="alpha")}'


@pytest.mark.parametrize("name", card_names())
def test_every_law_of_the_package_keeps_its_contract(name: str) -> None:
    card = load_card(name)
    found = check_law(card.law, card)
    assert found.passed, str(found)
    assert {check.code for check in found.checks} == set(CHECKS)


def card_text(law: str, **priors: str) -> str:
    """A card in a line a coefficient: what its prior says."""
    sections = [
        f"[coefficients.{name}]\nprior = {{ {prior} }}\nunit = '1'\nmeaning = 'a coefficient'\n"
        "why = 'for a test of the contract'\n"
        for name, prior in priors.items()
    ]
    head = f"name = 'mine'\ntitle = 'Mine'\nlaw = '{law}'\nsummary = 'Mine.'\nreferences = ['mine']"
    return "\n".join([head, *sections, f"[noise]{NOISE}"])


BELIEVED = {"E": "low = 1, high = 2", "A": "low = 50, high = 500", "alpha": "low = 0.2, high = 0.4"}


class Mine:
    """A law in a file of one's own, with its card."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(
        self,
        body: str,
        *,
        inputs: str = "params",
        name: str = "mine",
        more: str = "",
        **priors: str,
    ) -> str:
        priors = priors or BELIEVED
        names = tuple(inputs.split(", "))
        text = (
            f"{HEAD}def loss({inputs}, *, {', '.join(priors)}):\n{body}\n\n"
            f"MINE = Law(name={name!r}, inputs={names!r}, coefficients={tuple(priors)!r}, "
            f"loss=loss, {more})\n"
        )
        (self.folder / "mine.py").write_text(text)
        (self.folder / "mine.toml").write_text(card_text(name, **priors))
        return f"{self.folder / 'mine.py'}:MINE"

    def check(self, body: str, **given: str) -> Contract:
        return check_law(find_law(self.write(body, **given)), self.folder / "mine.toml")


@pytest.fixture
def mine(tmp_path: Path) -> Mine:
    return Mine(tmp_path)


def only_failure(found: Contract) -> tuple[str, str]:
    ((name, text),) = [(c.code, c.text) for c in found.checks if c.passed is False]
    return name, text


PLAIN = (
    "Write it with operators and np.exp, np.log, np.log1p, np.sqrt, np.power alone: np.where, "
    "np.maximum, np.clip, np.logaddexp, the math module, float() and if do not take all of floats, "
    "NumPy, xarray and PyTensor variables"
)


def test_a_sound_law_of_ones_own_keeps_it(mine: Mine) -> None:
    found = mine.check(
        "    return E + A / params**alpha", more=f"terms={ONE_SCALE}, sum_of_terms=True"
    )
    assert found.passed, str(found)
    assert str(found).endswith("The law keeps its contract.")


@pytest.mark.parametrize(
    ("body", "check", "message"),
    [
        (
            "    return np.where(params > 1e9, E, E + A / params**alpha)",
            "floats",
            f"from floats it returns a ndarray. {PLAIN}",
        ),
        (
            "    decay = A * params**-alpha\n    return E + np.maximum(decay, 0.0)",
            "sampler",
            "mine.py, line 7: TypeError: TensorVariable cannot be converted to Python boolean. "
            f"Call `.astype(bool)` for the symbolic equivalent. {PLAIN}",
        ),
        (
            "    return E + A * math.exp(-alpha * math.log(params))",
            "arrays",
            "mine.py, line 6: TypeError: only 0-dimensional arrays can be converted to Python "
            f"scalars. {PLAIN}",
        ),
        (
            "    return E + A / [params][1] ** alpha",
            "floats",
            f"mine.py, line 6: IndexError: list index out of range. {PLAIN}",
        ),
        (
            "    return np.sum(E + A / params**alpha)",
            "arrays",
            "from inputs of shape (9,) and coefficients of shape (200, 1) it returns shape (), "
            "where one loss each, (200, 9), is needed: use no sum, mean, max or index over runs",
        ),
        (
            "    params *= 1.0 + 1e-12\n    return E + A / params**alpha",
            "arrays",
            "it changes the arrays it is given: write x = x * 2 instead of x *= 2, so that the "
            "caller's arrays stay as they are",
        ),
        (
            "    return E + A / params**alpha + 1e-3 * np.random.default_rng().uniform()",
            "arrays",
            None,
        ),
        ("    return str(E)", "floats", f"from floats it returns a str. {PLAIN}"),
    ],
    ids=["where", "maximum", "math", "raises", "sum", "in place", "random", "text"],
)
def test_a_function_that_is_no_plain_arithmetic(
    mine: Mine, body: str, check: str, message: str | None
) -> None:
    failed, text = only_failure(mine.check(body))
    assert failed == check
    if message is not None:
        assert text == message


def test_a_loss_below_zero(mine: Mine) -> None:
    failed, text = only_failure(mine.check("    return A / params**alpha - E"))
    assert failed == "finite"
    assert text.startswith("the loss is not finite and above zero in ")
    assert text.endswith(
        "its logarithm is what is fitted, so narrow the prior or write the formula so that it "
        "cannot overflow"
    )


def test_a_slope_that_is_none(mine: Mine) -> None:
    failed, text = only_failure(
        mine.check("    return E + A / params**alpha + np.sqrt(0.0 * alpha)")
    )
    assert failed == "gradient"
    assert text.startswith("the slope with alpha is not finite in 40 of 40 draws of the prior")


def test_a_coefficient_that_does_nothing(mine: Mine) -> None:
    body = "    return E + A / params**0.3 + 0.0 * alpha"
    failed, text = only_failure(mine.check(body))
    assert failed == "gradient"
    assert text == (
        "the loss does not depend on alpha at any draw: leave it out of the law, or correct the "
        "formula"
    )


def test_a_loss_that_rises(mine: Mine) -> None:
    body = "    return E + A / params**alpha + 1e-10 * params**0.95"
    failed, text = only_failure(mine.check(body))
    assert failed == "falls"
    assert text.startswith(
        "the loss rises with params in 200 of 200 draws of the prior, such as E "
    )
    assert text.endswith(
        "correct a sign, narrow the prior, or name in falls_with the inputs with which it only "
        "falls"
    )
    said = mine.check(body, more="falls_with=(),")
    assert said.passed, str(said)


def test_a_term_whose_two_sides_do_not_belong_together(mine: Mine) -> None:
    term = (
        "type('Off', (Amplitude,), {'log_coefficient': lambda self, v, known, x: v})"
        "(input='params', exponent='alpha')"
    )
    found = mine.check("    return E + A / params**alpha", more=f"terms={{'A': {term}}}")
    assert only_failure(found) == ("terms", "term A: log_coefficient does not undo log_value")


def test_coordinates_that_change_the_prior_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """By exactly the volume that is left out of the sampler's density."""
    monkeypatch.setattr(
        LevelAndShares, "log_jac_det", lambda self, value, *inputs: 0.1 + 0 * value[..., 0]
    )
    failed, text = only_failure(check_law(CHINCHILLA, "chinchilla"))
    assert failed == "coordinates"
    assert text == (
        "the density that is sampled is 0.1 off the card's prior in logs: a term's log_value, "
        "log_coefficient and slope do not belong together"
    )


def test_a_sum_that_is_not_said_is_mentioned(mine: Mine) -> None:
    found = mine.check("    return E + A / params**alpha", more=f"terms={ONE_SCALE}")
    assert found.passed
    assert [check.text for check in found.checks if check.code == "terms"] == [
        "the loss is the sum of the terms: sum_of_terms=True makes sampling faster"
    ]


TWO = {
    "E": "low = 1, high = 2", "A": "low = 50, high = 500", "B": "low = 50, high = 500",
    "alpha": "low = 0.28, high = 0.4",
}  # fmt: skip


def test_an_optimum_that_is_none(mine: Mine) -> None:
    body = "    return E + A / params**alpha + B / tokens**alpha"
    optimum = (
        "lambda flops, *, E, A, B, alpha: ((flops / 120) ** 0.5 + 0 * E, 20 * (flops / 120) ** 0.5)"
    )
    found = mine.check(body, inputs="params, tokens", more=f"optimum={optimum}", **TWO)
    failed, text = only_failure(found)
    assert failed == "optimum"
    assert text.startswith("optimum does not give the least loss in 200 of 200 draws of the prior")
    without = mine.check(body, inputs="params, tokens", **TWO)
    assert without.passed, str(without)


def test_a_law_that_has_no_best_split(mine: Mine) -> None:
    body = "    return E + A / params**alpha + B / params**alpha + 0 * tokens"
    found = mine.check(body, inputs="params, tokens", more="falls_with=('params',),", **TWO)
    failed, text = only_failure(found)
    assert failed == "optimum"
    assert text.startswith(
        "the best split of 1e+22 FLOP is all params or all tokens in 200 of 200 draws of the prior"
    )
    assert text.endswith(": let the loss fall with both")


def test_a_prior_that_no_language_model_meets(mine: Mine) -> None:
    wide = BELIEVED | {"A": "low = 0.01, high = 1e6"}
    failed, text = only_failure(mine.check("    return E + A / params**alpha", **wide))
    assert failed == "prior"
    assert text.endswith(
        "narrow the priors, or state them on the size of terms at a scale (at = 1e9)"
    )
    assert "of losses at params 1e+07 lie between 0.5 and 15 nats/token, with a median of" in text


def test_a_name_that_the_package_has(mine: Mine) -> None:
    found = mine.check("    return E + A / params**alpha", name="chinchilla")
    assert only_failure(found) == (
        "name",
        "'chinchilla' is the name of a law of the package, for which it would be taken: give yours "
        "another",
    )


def test_a_card_that_leaves_a_coefficient_out(mine: Mine) -> None:
    law = find_law(mine.write("    return E + A / params**alpha"))
    card = mine.folder / "mine.toml"
    card.write_text(card.read_text().replace("[coefficients.alpha]", "[coefficients.a]"))
    assert only_failure(check_law(law, card)) == (
        "card",
        f"{card} cannot be used:\n"
        "  - coefficients.alpha is missing: law 'mine' needs a prior on it\n"
        "  - coefficients.a is not a coefficient of law 'mine', which has E, A, alpha",
    )


def test_a_law_that_other_processes_cannot_find() -> None:
    law = Law(
        name="here", inputs=("params",), coefficients=("A",), loss=lambda params, *, A: A / params
    )
    failed, text = only_failure(check_law(law))
    assert failed == "processes"
    assert "cannot be sent to another process" in text


def test_without_a_card_what_depends_on_beliefs_is_left_out(mine: Mine) -> None:
    law = find_law(mine.write("    return E + A / params**alpha"))
    found = check_law(law)
    assert found.passed
    assert {check.code for check in found.checks} == {
        "name", "card", "floats", "arrays", "labeled", "sampler", "terms", "processes",
    }  # fmt: skip


def test_runs_that_lack_an_input_are_refused(cerebras: Runs) -> None:
    with pytest.raises(RunLogError, match="law 'downstream' cannot be fitted to"):
        check_law(find_law("downstream"), runs=cerebras)
    assert check_law(CHINCHILLA, "chinchilla", cerebras).passed


# files that fail


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "from bayescale.laws import Law\ndef loss(params, *, A:\n    return A\n",
            "law file '{path}' is not Python, line 2: '(' was never closed: def loss(params, *, A:",
        ),
        ("x = 1\ny = x / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero"),
        (
            "import no_such_module_here\n",
            "mine.py, line 1: ModuleNotFoundError: No module named 'no_such_module_here'",
        ),
        (
            "from bayescale.laws import Law\n\nMINE = Law(name='mine', inputs=('params',),\n"
            "           coefficients=('A',), loss=lambda size, *, A: A)\n",
            "mine.py, line 3: law 'mine' is ill-defined: loss takes (size, *, A) but needs "
            "(params, *, A)",
        ),
        ("OTHER = 3\n", "'{path}' has no law named 'MINE': it defines none"),
        (
            "def MINE(params, *, A):\n    return A / params\n",
            "'MINE' in '{path}' is a function, not a Law: make a law with bayescale.laws.Law; "
            "it defines none",
        ),
    ],
    ids=["syntax", "raises", "import", "ill-defined", "no such name", "no law"],
)
def test_a_file_that_fails_is_reported_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(LawError) as caught:
        find_law(f"{path}:MINE")
    assert str(caught.value) == message.replace("{path}", str(path))


def test_a_missing_name_is_answered_with_the_laws_in_the_file(mine: Mine) -> None:
    place = mine.write("    return E + A / params**alpha").removesuffix(":MINE")
    with pytest.raises(LawError) as caught:
        find_law(place)
    assert str(caught.value) == f"name the law in {place!r} as {place}:NAME; it defines MINE"


# the command


def test_the_command_prints_each_check_and_exits_by_them(
    bayescale: Callable[..., Ran], mine: Mine
) -> None:
    place = mine.write("    return E + A / params**alpha", more=f"terms={ONE_SCALE}")
    card = mine.folder / "mine.toml"
    ran = bayescale("models", "check", place, "--card", card)
    assert ran.code == 0
    assert ran.out.startswith("Contract of law mine, card mine\n  pass  name: ")
    broken = mine.write("    return np.where(params > 1e9, E, E + A / params**alpha)")
    ran = bayescale("models", "check", broken, "--card", card, "--json")
    assert ran.code == 3
    assert not ran.json["passed"]
    assert [c["name"] for c in ran.json["checks"] if c["passed"] is False] == ["floats"]
    assert bayescale("models", "check", "kaplan_params").code == 0


def test_what_a_law_raises_in_a_command_is_reported_with_its_line(
    bayescale: Callable[..., Ran], mine: Mine, tmp_path: Path
) -> None:
    log = tmp_path / "runs.csv"
    rows = [f"{n:g},{3 - 0.1 * i}" for i, n in enumerate((1e8, 1e9, 1e10, 1e11))]
    log.write_text("\n".join(["params,loss", *rows]))
    place = mine.write("    return np.where(params > 1e9, E, E + A / params**alpha)")
    ran = bayescale("fit", log, "--law", place, "--card", mine.folder / "mine.toml")
    assert ran.code == 2
    assert not ran.out
    assert ran.err.splitlines()[-1] == (
        "error: mine.py, line 6: ValueError: setting an array element with a sequence.; see "
        "bayescale models check"
    )
    assert "Traceback" not in ran.err


# beside laws of the package


def test_cards_find_their_laws_among_several(mine: Mine) -> None:
    place, card = mine.write("    return E + A / params**alpha"), mine.folder / "mine.toml"
    own, theirs = laws_with_cards([place, "kaplan_params"], [card])
    assert isinstance(own, ModelCard)
    assert own.law.name == "mine"
    assert theirs is LAWS["kaplan_params"]
    (alone,) = laws_with_cards([], ["henighan_params"])
    assert isinstance(alone, ModelCard)
    with pytest.raises(CardError) as caught:
        laws_with_cards(["kaplan_params", "henighan_params"], ["kaplan_tokens"])
    assert str(caught.value) == (
        "card 'kaplan_tokens' is for law 'kaplan_tokens', which is not among kaplan_params, "
        "henighan_params: name that law too, or leave the card out"
    )
    with pytest.raises(CardError) as caught:
        laws_with_cards(["chinchilla"], ["chinchilla", "chinchilla_published"])
    assert str(caught.value) == (
        "card 'chinchilla_published' is a second card for law 'chinchilla': name one of them"
    )


@pytest.mark.integration
def test_an_own_law_is_fitted_beside_one_of_the_package(
    bayescale: Callable[..., Ran], mine: Mine, tmp_path: Path
) -> None:
    log, out = tmp_path / "runs.csv", tmp_path / "fit.nc"
    params = np.geomspace(1e8, 1e11, 8)
    loss = 1.5 + 200 / params**0.3
    pd.DataFrame({"params": params, "loss": loss}).to_csv(log, index=False)
    place = mine.write("    return E + A / params**alpha", more=f"terms={ONE_SCALE}")
    laws = ("--law", place, "--law", "henighan_params", "--card", mine.folder / "mine.toml")
    ran = bayescale("fit", log, *laws, "-o", out, "--draws", 100, "--tune", 100, "--chains", 2)
    assert f"  bayescale trust {out} --law {place}\n" in ran.out
    answer = bayescale(
        "forecast", out, "--law", place, "--params", "1e12", "--json", "--allow-unconverged"
    ).json
    assert set(answer["laws"]) == {"mine", "henighan_params"}
    assert bayescale("compare", log, *laws[:4]).err == (
        "error: law 'mine' is your own, so it needs a card of priors: name one with --card\n"
    )

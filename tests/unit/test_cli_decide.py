"""The commands allocate, data and next-run: keys, exit codes, and every bad input."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.published import ONE, SPREAD, significant

from bayescale.cards import load_card
from bayescale.posterior import ModelAverage, Posterior, point, save


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ONE, tmp_path_factory.mktemp("fit") / "besiroglu.nc")


@pytest.fixture(scope="module")
def real(chinchilla_posterior: Posterior, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(chinchilla_posterior, tmp_path_factory.mktemp("fit") / "chinchilla.nc")


def test_allocate_holds_its_promised_keys(bayescale, published: Path) -> None:
    ran = bayescale("allocate", published, "--flops", "5.76e23", "--option", "280B,300B", "--json")
    assert ran.code == 0
    answer = ran.json
    quantiles = {"median", "lower", "upper"}
    for name in ("params", "tokens", "tokens_per_param", "loss"):
        assert set(answer[name]) == quantiles
    assert significant(answer["choice"]["params"], "7.225e10")
    assert set(answer["regret"]["loss"]) == set(answer["regret"]["flops"]) == quantiles
    assert answer["options"][0]["expected_regret"]["loss"] > 0.02
    text = bayescale("allocate", published, "--flops", "5.76e23", "--option", "70B").out
    assert "72.2B params on 1.33T tokens (18.4 per param): least expected loss" in text
    assert "70B params on 1.37T tokens" in text


def test_allocate_takes_limits_as_people_write_them(bayescale, published: Path) -> None:
    limits = ("--max-tokens", "1T", "--inference-tokens", "2T", "--price", "1e-18")
    answer = bayescale("allocate", published, "--flops", "5.76e23", *limits, "--json").json
    n, d = answer["choice"]["params"], answer["choice"]["tokens"]
    assert d == pytest.approx(1e12)
    assert 6 * n * d + 2 * n * 2e12 == pytest.approx(5.76e23)
    assert answer["limits"]["inference_tokens"] == 2e12
    built = bayescale("allocate", published, "--flops", "1e22,1e23", "--sizes", "7B,13B", "--json")
    assert [b["choice"]["params"] for b in built.json["budgets"]] == [7e9, 13e9]


def test_data_holds_its_promised_keys(bayescale, published: Path) -> None:
    answer = bayescale("data", published, "--params", "1B", "--overfit", "0.05", "--json").json
    assert answer["params"] == 1e9
    assert answer["overfit"] == 0.05
    assert set(answer["tokens_needed"]) == {"median", "lower", "upper"}
    text = bayescale("data", published, "--params", "7B", "--target", "2.1").out
    assert "for a loss of 2.1 nats/token, 7B params need\n  620B tokens" in text


def test_laws_that_do_not_agree_exit_with_3(bayescale, tmp_path: Path) -> None:
    kaplan = load_card("kaplan")
    members = (ONE, point(kaplan, kaplan.published_values("kaplan_2020")))
    file = save(ModelAverage(members, (0.5, 0.5)), tmp_path / "both.nc")
    for question in (("data", "--params", "1B"), ("allocate", "--flops", "1e25")):
        ran = bayescale(question[0], file, *question[1:], "--json")
        assert ran.code == 3
        assert ran.json["answered"] is False
        assert ran.json["why"].startswith("The laws do not agree: chinchilla says ")
        assert bayescale(question[0], file, *question[1:]).code == 3
    ran = bayescale("report", file, "--flops", "1e25", "-o", tmp_path / "page.html")
    assert ran.code == 3
    page = (tmp_path / "page.html").read_text()
    assert page.count("The laws do not agree: chinchilla says ") >= 3


def test_next_run_holds_its_promised_keys(bayescale, real: Path, tmp_path: Path) -> None:
    ran = bayescale("next-run", real, "--target-flops", "5.76e23", "--budget", "1e22", "--json")
    assert ran.code == 0
    keys = {"params", "tokens", "flops", "sd_before", "sd_after", "reduction_per_flop"}
    assert keys <= set(ran.json["candidates"][0])
    candidates = tmp_path / "candidates.csv"
    candidates.write_text("params,tokens\n1B,20B\n7B,140B\n")
    options = ("--candidates", candidates, "--budget", "1e22")
    ran = bayescale("next-run", real, "--target-params", "70B", "--target-tokens", "1.4T", *options)
    assert ran.code == 0
    assert ["7B", "140B"] in [line.split()[:2] for line in ran.out.splitlines()]
    assert "Train the first" in ran.out
    ran = bayescale("next-run", real, "--target-flops", "1e23", "--regret", *options)
    assert "now gives up" in ran.out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ("allocate", "--flops", "many"),
            "error: --flops is 'many', which is not a size: write a number, with K, M, B or T "
            "after it if you like, for example 70B, 1.4T or 5.76e23\n",
        ),
        (
            ("allocate", "--flops", "0"),
            "error: --flops is '0', but it must be finite and greater than zero\n",
        ),
        (
            ("allocate", "--flops", "1e22", "--sizes", "70B", "--max-params", "7B"),
            "error: these constraints cannot be met:\n"
            "  - the smallest size, 70B params, is above max_params, 7B: raise that, or add a size"
            "\n",
        ),
        (
            ("data", "--params", "7B", "--target", "1.7"),
            "error: a loss of 1.7 nats per token is out of reach of 7B params in every draw: "
            "unlimited tokens leave 1.9987 (90% interval 1.9987 to 1.9987). Ask for a "
            "higher loss, or for more params\n",
        ),
        (
            ("next-run", "--target-flops", "1e24", "--budget", "1e20"),
            "error: a point estimate has no uncertainty that a run could reduce: fit runs first\n",
        ),
    ],
)
def test_bad_input_is_named(bayescale, published: Path, command: tuple, message: str) -> None:
    ran = bayescale(command[0], published, *command[1:])
    assert ran.code == 2
    assert ran.err == message
    assert ran.out == ""


def test_an_option_is_one_split(bayescale, published: Path) -> None:
    ran = bayescale("allocate", published, "--flops", "1e22", "--option", "1B,2B,3B")
    assert ran.code == 2
    assert "'1B,2B,3B' is not PARAMS or PARAMS,TOKENS" in ran.err


@pytest.mark.integration
def test_decisions_load_no_sampler(tmp_path: Path) -> None:
    """From a saved file, in a fresh process."""
    fit = save(SPREAD, tmp_path / "fit.nc")
    code = (
        "import sys; from bayescale.posterior import open_posterior; "
        "from bayescale.decisions.allocate import allocate; "
        f"print(allocate(open_posterior({str(fit)!r}), 1e23)); "
        "heavy = {'pymc', 'nutpie', 'pytensor', 'numba', 'arviz', 'matplotlib'}; "
        "loaded = heavy & set(sys.modules); "
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "least expected loss" in ran.stdout

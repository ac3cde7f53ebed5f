"""What a fit decides: a budget's split, the data needed, the next run."""

from collections.abc import Iterator

from bayescale.plotting import plot_allocation, plot_next_run
from bayescale.reporting.blocks import Block, Bullets, Facts, Table, Text
from bayescale.reporting.figures import drawn
from bayescale.reporting.formatting import SIZE, UNIT, as_flop, as_nats, as_share, three_digits
from bayescale.reporting.questions import Questions
from bayescale.units import format_size

MOST_CANDIDATES, MOST_BOUGHT = 8, 10


def told_allocation(questions: Questions) -> Iterator[Block]:
    """The split of the next budget, what it gives up, and the frontier."""
    result, answer = questions.allocation
    at = ("budgets", questions.at)
    mass = answer("interval", form=as_share)
    yield Facts(
        (
            ("Budget", (answer(*at, "flops", form=as_flop), " FLOP")),
            (
                "Split of least expected loss",
                (answer(*at, "choice", "params", form=format_size), " params, ",
                 answer(*at, "choice", "tokens", form=format_size), " tokens"),
            ),
            (
                "Regret expected",
                (answer(*at, "expected_regret", "loss", form=as_nats), " nats per token, as if ",
                 answer(*at, "expected_regret", "flops", form=as_nats), " FLOP were wasted"),
            ),
        )
    )  # fmt: skip
    yield Text(
        (
            "Each draw has a best split of its own: params ",
            *answer.middle(*at, "params", form=format_size), ", tokens ",
            *answer.middle(*at, "tokens", form=format_size), ", tokens per param ",
            *answer.middle(*at, "tokens_per_param", form=three_digits), "; ", mass, " intervals. ",
            "Regret is what the choice gives up on those: ",
            *answer.middle(*at, "regret", "loss", form=as_nats), " nats per token.",
        )
    )  # fmt: skip
    exponent = answer.middle("exponent", form=lambda value: f"{value:.3f}")
    yield Text(("Best params grow as C to the power ", *exponent, "."))
    rows = tuple(
        (
            (answer("budgets", i, "flops", form=as_flop),),
            (answer("budgets", i, "choice", "params", form=format_size),),
            (answer("budgets", i, "choice", "tokens", form=format_size),),
            answer.middle("budgets", i, "tokens_per_param", form=three_digits),
            (answer("budgets", i, "expected_regret", "loss", form=as_nats),),
            (answer("budgets", i, "expected_regret", "flops", form=as_nats),),
        )
        for i in range(len(questions.around))
    )
    yield Table(
        "The frontier",
        ("FLOP", "params", "tokens", f"tokens per param, best ({mass.text})",
         "regret expected, nats", "wasted, FLOP"),
        rows,
    )  # fmt: skip
    ends = result.to_frame().iloc[[0, -1]]
    told = " to ".join(
        f"{format_size(row['choice_params'])} params on {format_size(row['choice_tokens'])} tokens "
        f"at {row['flops']:.3g} FLOP"
        for row in ends.to_dict(orient="records")
    )
    yield drawn(
        lambda ax: plot_allocation(result, ax),
        f"Parameters and tokens of least expected loss against the budget: {told}.",
        "Parameters and tokens to choose; the bands hold each draw's own best split.",
    )
    if answer.raw(*at, "across"):
        yield Bullets(
            tuple(
                (
                    "If ", answer(*at, "across", i, "holds"), " holds, ",
                    answer(*at, "across", i, "follow"), "'s choice wastes ",
                    answer(*at, "across", i, "wasted", form=as_nats), " FLOP and ",
                    answer(*at, "across", i, "regret", form=as_nats), " nats per token.",
                )
                for i in range(len(answer.raw(*at, "across")))
            )
        )  # fmt: skip
    yield Text(
        (
            "Limits on tokens, params or sizes, tokens to be served, prices and named splits: "
            "bayescale allocate --help.",
        )
    )


def told_data(questions: Questions) -> Iterator[Block]:
    """Tokens that the next model needs."""
    answer = questions.data
    mass = answer("interval", form=as_share)
    needed = answer.middle("tokens_needed", form=format_size, none="out of reach")
    yield Text(
        (
            "A model of ", answer("params", form=format_size), " params needs ", *needed,
            " tokens (", mass, " interval), so that finite data add at most ",
            answer("overfit", form=as_share), " to its loss.",
        )
    )  # fmt: skip
    if answer.raw("p_reachable") < 1:
        yield Text(
            ("Some amount of tokens is enough with a chance of ",
             answer("p_reachable", form=as_share), "."),
            "note",
        )  # fmt: skip
    if answer.raw("laws"):
        yield Table(
            "By each law alone",
            ("law", f"tokens needed ({mass.text})"),
            tuple(
                ((law,), answer.middle("laws", law, "tokens_needed", form=format_size,
                                       none="out of reach"))
                for law in answer.raw("laws")
            ),
        )  # fmt: skip
    yield Text(
        (
            "This compares with endless data, where no run can show how the law drifts, so the law "
            "is taken to hold exactly. For a loss to be reached: bayescale data --target.",
        )
    )


def told_next_run(questions: Questions) -> Iterator[Block]:
    """Runs to buy, and a map of all candidates."""
    result, answer = questions.next_run
    yield Text(
        (
            "The log of the mean loss at the next scale is known within a standard deviation of ",
            answer("candidates", 0, "sd_before", form=lambda value: f"{value:.2%}"),
            ". For ", answer("budget", form=as_flop),
            " FLOP, as much as the largest run, these runs would narrow it most for their price:",
        )
    )  # fmt: skip
    names = [name for name in ("params", "tokens", "flops") if name in result.candidates]
    good = result.candidates["affordable"] & result.candidates["worthwhile"]
    shown = [int(i) for i in good[good].index[:MOST_CANDIDATES]]
    if not shown:
        yield Text(("None of the candidates would take off a hundredth of it: buy none.",), "note")
    else:
        yield Table(
            "Candidate runs, best for their price first",
            (*(UNIT[name] for name in names), "leaves, sd", "taken off per 1e18 FLOP"),
            tuple(
                (
                    *((answer("candidates", i, name, form=SIZE[name]),) for name in names),
                    (answer("candidates", i, "sd_after", form=lambda value: f"{value:.2%}"),),
                    (answer("candidates", i, "reduction_per_flop",
                            form=lambda value: f"{1e18 * value:.2g}"),),
                )
                for i in shown
            ),
        )  # fmt: skip
    if len(result.batch):
        buys = []
        for i in range(min(len(result.batch), MOST_BOUGHT)):
            sizes = [
                part
                for name in names
                for part in (answer("batch", i, name, form=SIZE[name]), f" {UNIT[name]}, ")
            ]
            left = answer("batch", i, "sd_after", form=lambda value: f"{value:.2%}")
            buys.append((*sizes, "leaves ", left, " in all."))
        yield Text(("To buy within the budget, in this order:",))
        if len(result.batch) > MOST_BOUGHT:
            buys.append((f"and {len(result.batch) - MOST_BOUGHT} more.",))
        yield Bullets(tuple(buys))
    left = result.candidates["sd_after"]
    yield drawn(
        lambda ax: plot_next_run(result, ax),
        f"{len(left)} candidate runs by what buying each would leave of the uncertainty: from "
        f"{left.min():.2%} to {left.max():.2%}; {len(result.batch)} marked to buy.",
        "Candidate runs, and what each would leave of the uncertainty about the next scale.",
    )

"""The card of the valley: priors of its coefficients, each with a reason."""

import numpy as np
from pydantic import Field, PositiveFloat

from bayescale.cards import cards_folder
from bayescale.cards.load import read_toml, validated
from bayescale.cards.prior import Strict


class NormalPrior(Strict):
    """A normal belief about a coefficient, its logarithm, or its absolute value."""

    mean: float = 0.0
    sd: PositiveFloat
    log: bool = False
    half: bool = False
    why: str = Field(min_length=1)


class TuningCard(Strict):
    """The card of the valley: a prior for every coefficient."""

    name: str
    references: tuple[str, ...]
    priors: dict[str, NormalPrior]
    text: str

    def draw(self, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return draws of the coefficients from the prior, each of shape (draw,)."""
        values = {}
        for name, prior in self.priors.items():
            z = prior.mean + prior.sd * rng.standard_normal(draws)
            values[name] = np.exp(z) if prior.log else abs(z) if prior.half else z
        return values


def load_tuning_card(name: str = "valley") -> TuningCard:
    """Return a card of ``models/tuning``."""
    text = (cards_folder() / "tuning" / f"{name}.toml").read_text(encoding="utf-8")
    content = read_toml(text, name)
    about = {key: content.pop(key) for key in ("name", "references")}
    return validated(TuningCard, {**about, "priors": content, "text": text}, name)

"""Messages: arguments as Python writes them, options as the command line does."""

import json

import pytest

from bayescale.errors import argument, as_options


@pytest.mark.parametrize(
    ("message", "options"),
    [
        (f"say {argument('units', loss='bits')}, or not", "say --unit loss=bits, or not"),
        (argument("convert", tokens_per_byte=0.25), "--convert tokens_per_byte=0.25"),
        (argument("columns", loss="HEADER"), "--column loss=HEADER"),
        (argument("exclude", **{"val set": "pile 2"}), "--exclude 'val set=pile 2'"),
        ("`missing='drop'`", "--missing drop"),
        ("`ci_prob=0.9`", "--ci-prob 0.9"),
        ("`allow_unconverged=True`", "--allow-unconverged"),
        ("`law=['unified', 'chinchilla']`", "--law unified --law chinchilla"),
        ("`exclude=` or `families=`", "--exclude or --families"),
        ("params=1e9 and `code` stay", "params=1e9 and `code` stay"),
    ],
)
def test_arguments_become_options(message: str, options: str) -> None:
    assert as_options(message) == options
    assert json.loads(as_options(json.dumps({"text": message}))) == {"text": options}

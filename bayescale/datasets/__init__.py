"""Named public run logs: a small bundled table, and a larger one that is fetched and checked."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bayescale.errors import DataUnavailableError, did_you_mean, listed
from bayescale.findings import note
from bayescale.runs import Runs, read_runs

CHINCHILLA_FILE = "svg_extracted_data.csv"
CHINCHILLA_SHA256 = "193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30"
CHINCHILLA_COMMIT = "92258837425e1b5f2851d624287f0120583a3d0e"
CHINCHILLA_ADDRESS = (
    "https://raw.githubusercontent.com/epoch-research/analyzing-chinchilla/"
    f"{CHINCHILLA_COMMIT}/data/"
)


def load(name: str) -> Runs:
    """Return a public run log by name.

    Parameters
    ----------
    name : str
        ``"pile_2023"``: Pile test loss of Cerebras-GPT, Pythia and others as published (Dey et
        al. 2023, arXiv 2304.03208, and the model zoo's README; Apache-2.0). ``flops`` is the
        publisher's own count; ``tokens`` is missing where it was not published. Bundled.

        ``"chinchilla"``: 245 runs of Hoffmann et al. 2022, read off their figure 4 by
        Besiroglu et al. 2024 (arXiv 2404.10102). ``params`` includes embeddings, and
        ``tokens`` is C / 6N. Fetched once and cached, or found under the folder that the
        environment variable ``BAYESCALE_DATA`` names.

    Returns
    -------
    Runs

    Raises
    ------
    DataUnavailableError
        If there is no such data set, or it can be neither found nor fetched.

    Examples
    --------
    >>> len(load("pile_2023"))
    30
    """
    if name == "pile_2023":
        return _pile()
    if name == "chinchilla":
        return _chinchilla()
    raise DataUnavailableError(
        f"data set {name!r} is unknown: use pile_2023 or chinchilla"
        f"{did_you_mean(name, ('pile_2023', 'chinchilla'))}"
    )


def _pile() -> Runs:
    table = pd.read_csv(Path(__file__).parent / "pile_2023.csv", comment="#")
    runs = read_runs(table.drop(columns="suspect"), missing="keep")
    suspect = listed(table.loc[table["suspect"] == 1, "run_id"])
    warning = note(
        "suspect", f"{suspect}: the published loss looks like a typo; exclude it to be safe"
    )
    return replace(runs, source="data set pile_2023", warnings=(*runs.warnings, warning))


def _chinchilla() -> Runs:
    table = pd.read_csv(_fetch(CHINCHILLA_FILE, CHINCHILLA_SHA256, CHINCHILLA_ADDRESS))
    frame = pd.DataFrame(
        {
            "run_id": [f"chin{i:03}" for i in range(len(table))],
            "params": table["Model Size"],
            "tokens": table["Training FLOP"] / (6.0 * table["Model Size"]),
            "flops": table["Training FLOP"],
            "loss": table["loss"],
        }
    )
    return replace(read_runs(frame), source="data set chinchilla")


def _fetch(file: str, sha256: str, address: str) -> Path:
    folder = os.environ.get("BAYESCALE_DATA")
    for place in (file, f"raw/{file}"):
        path = Path(folder or "/nonexistent") / place
        if folder and path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != sha256:
                raise DataUnavailableError(
                    f"{path} is not the file expected: its SHA-256 is {found}, but must be "
                    f"{sha256}; replace it, or unset BAYESCALE_DATA to fetch it"
                )
            return path

    import platformdirs
    import pooch

    cache = Path(platformdirs.user_cache_dir("bayescale"))
    try:
        pooch.get_logger().setLevel("WARNING")
        return Path(pooch.retrieve(address + file, f"sha256:{sha256}", fname=file, path=cache))
    except Exception as error:  # errors of the network layer have the same remedy
        raise DataUnavailableError(
            f"{file} could not be fetched from {address} ({type(error).__name__}). Without a "
            f"network, get it elsewhere (SHA-256 {sha256}) and put it into a folder that the "
            "environment variable BAYESCALE_DATA names"
        ) from None

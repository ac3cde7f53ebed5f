"""Named data sets: the bundled table, and the fetched one with its checksum."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale import datasets
from bayescale.errors import DataUnavailableError
from bayescale.runs import Runs


def test_the_bundled_table_is_the_published_one() -> None:
    runs = datasets.load("pile_2023")
    frame = runs.to_frame().set_index("run_id")
    assert len(frame) == 30
    assert frame.loc["Cerebras-GPT-13B", "loss"] == 1.572
    assert frame.loc["Cerebras-GPT-13B", "flops"] == 2.3e22
    assert frame.loc["Pythia-12B", "loss"] == 1.582
    assert np.isnan(frame.loc["GPT-J-6B", "tokens"])
    assert {note.code for note in runs.warnings} == {"flops_convention", "suspect"}


def test_the_bundled_table_agrees_with_its_source(real_data: Path) -> None:
    source = pd.read_csv(real_data / "cerebras_pythia_pile.csv").set_index("run_id")
    ours = datasets.load("pile_2023").to_frame().set_index("run_id")
    for column in ("params", "tokens", "flops", "loss"):
        np.testing.assert_array_equal(ours[column], source.loc[ours.index, column])


def test_chinchilla_runs_are_read_from_the_original_file(all_chinchilla: Runs) -> None:
    assert len(all_chinchilla) == 245
    np.testing.assert_allclose(
        all_chinchilla["flops"], 6 * all_chinchilla["params"] * all_chinchilla["tokens"]
    )


def test_offline_and_absent_says_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BAYESCALE_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path))
    monkeypatch.setattr(datasets, "CHINCHILLA_ADDRESS", "http://127.0.0.1:9/")
    with pytest.raises(DataUnavailableError) as caught:
        datasets.load("chinchilla")
    assert str(caught.value) == (
        "svg_extracted_data.csv could not be fetched from http://127.0.0.1:9/ (ConnectionError). "
        f"Without a network, get it elsewhere (SHA-256 {datasets.CHINCHILLA_SHA256}) and put it "
        "into a folder that the environment variable BAYESCALE_DATA names"
    )


def test_a_file_with_another_checksum_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / datasets.CHINCHILLA_FILE).write_text("Model Size,Training FLOP,loss\n")
    monkeypatch.setenv("BAYESCALE_DATA", str(tmp_path))
    with pytest.raises(DataUnavailableError, match="is not the file expected: its SHA-256 is"):
        datasets.load("chinchilla")


def test_a_download_is_fetched_once_and_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, real_data: Path
) -> None:
    """From a server on this computer, instead of the public one."""
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    asked: list[str] = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=real_data / "raw"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.delenv("BAYESCALE_DATA")
        monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path))
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        monkeypatch.setattr(datasets, "CHINCHILLA_ADDRESS", address)
        for _ in range(2):
            assert len(datasets.load("chinchilla")) == 245
        assert len(asked) == 1
    finally:
        server.shutdown()
        server.server_close()


def test_an_unknown_data_set() -> None:
    with pytest.raises(DataUnavailableError) as caught:
        datasets.load("pile")
    assert str(caught.value) == (
        "data set 'pile' is unknown: use pile_2023 or chinchilla; did you mean 'pile_2023'?"
    )

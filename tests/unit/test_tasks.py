"""Tasks in processes of this computer."""

import subprocess
import sys
from pathlib import Path

import pytest

STARTS = "print([outcome.result for outcome in outcomes([dict, list])])"


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_that_processes_would_run_again_is_refused(tmp_path: Path, guarded: bool) -> None:
    unguarded = f"print(dict.__name__)\n{STARTS}"  # other uses of the name are no guard
    start = f'if __name__ == "__main__":\n    {STARTS}' if guarded else unguarded
    script = tmp_path / "mine.py"
    script.write_text(f"from bayescale.tasks import outcomes\n\n{start}\n")
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    if guarded:
        assert ran.stdout.strip() in ("[{}, []]", "[[], {}]"), ran.stderr
    else:
        assert ran.stderr.splitlines()[-1].endswith(
            "each worker process would run mine.py again: put what the script does under "
            'if __name__ == "__main__":, or stay in one process with '
            "executor=bayescale.tasks.Serial()"
        )

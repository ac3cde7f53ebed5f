"""States of runs in tables of trackers, and whether each means that the run finished."""

import re

HEADERS = frozenset({"state", "status", "run_state", "run_status", "job_state", "job_status"})
"""Headers of columns of states, without case and signs."""

FINISHED = frozenset({"finished", "complete", "completed", "succeeded", "success", "done"})
UNFINISHED = frozenset(
    {
        "crashed", "failed", "failure", "error", "killed", "running", "pending", "preempting",
        "preempted", "stopped", "stopping", "canceled", "cancelled", "aborted", "queued",
        "scheduled", "starting", "interrupted", "timeout", "timed_out", "oom", "out_of_memory",
        "diverged", "paused", "without_an_end",
    }
)  # fmt: skip
_STEPS = re.compile(r"at step (\d+)(?: of (\d+))?")


def finished(state: object) -> bool | None:
    """Return whether a state means that a run finished; None if no tracker writes this state.

    Examples
    --------
    >>> finished("FINISHED"), finished("crashed"), finished("at step 3 of 9"), finished("CA")
    (True, False, False, None)
    """
    text = str(state).strip().lower()
    if steps := _STEPS.fullmatch(text):
        done, most = steps.groups()
        return None if most is None else int(done) >= int(most)
    word = "_".join(text.replace("-", " ").replace("_", " ").split())
    if word in FINISHED:
        return True
    return False if word in UNFINISHED else None

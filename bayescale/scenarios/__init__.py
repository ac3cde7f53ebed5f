"""Scenarios, which need assumptions beyond the runs: pruned data, and metrics of answers."""

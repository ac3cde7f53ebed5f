"""Decisions from stored draws: split a budget, size the data, choose the next run."""

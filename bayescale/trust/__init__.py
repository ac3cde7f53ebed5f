"""How far a fit can be believed: what the runs can tell apart, and what they cannot."""

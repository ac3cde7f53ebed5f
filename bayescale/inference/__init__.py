"""The only rooms that know PyMC and nutpie: from a card and runs to a posterior."""

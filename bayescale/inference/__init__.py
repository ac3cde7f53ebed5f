"""Inference, from a card and runs to a posterior: the only package that imports PyMC and nutpie."""

"""Inference, from a card and runs to a posterior: the only package that imports PyMC and nutpie."""

from bayescale.inference.compiled.pytensor_folder import use_writable_folder

use_writable_folder()

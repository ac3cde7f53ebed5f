"""The contract of laws: what every law promises, checked.

A law is one function that floats, NumPy, xarray and PyTensor share, with a card that covers its
coefficients. The tests hold the package's laws to the contract, and ``bayescale models check``
yours. Each check says what it examined and, where it fails, what to change.
"""

from bayescale.contract.checks import CHECKS
from bayescale.contract.contract import Contract, check_law

__all__ = ["CHECKS", "Contract", "check_law"]

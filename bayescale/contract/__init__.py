"""The contract of laws, and the checks that a law keeps it.

A law is one function that floats, NumPy, xarray and PyTensor share, with a card that covers its
coefficients. The tests check the package's laws against the contract, and ``bayescale models
check`` checks yours. Each check says what it examined and, if it fails, what to change.
"""

from bayescale.contract.checks import CHECKS
from bayescale.contract.contract import Contract, check_law

__all__ = ["CHECKS", "Contract", "check_law"]

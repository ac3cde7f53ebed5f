"""One page that can be sent: what a fit says, how far to trust it, and where it comes from."""

from bayescale.reporting.blocks import Report
from bayescale.reporting.content import report
from bayescale.reporting.page import render, write

__all__ = ["Report", "render", "report", "write"]

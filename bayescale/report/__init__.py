"""One page that can be sent: what a fit says, how far to trust it, and where it comes from."""

from bayescale.report.blocks import Report
from bayescale.report.content import report
from bayescale.report.page import render, write

__all__ = ["Report", "render", "report", "write"]

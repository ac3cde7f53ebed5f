"""A report on one page: what a fit says, how far to trust it, and where it comes from."""

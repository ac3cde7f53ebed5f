"""One page that can be sent: what a fit says, how far to trust it, and where it comes from."""

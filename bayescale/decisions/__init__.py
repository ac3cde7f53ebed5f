"""What to do: split a budget, size the data, choose the next run. Works on stored draws."""

"""How far a fit can be believed: what the runs can tell apart, and what was tested.

``bayescale.trust`` is the function; modules are imported by path, as in
``from bayescale.validation.scores import crps``.
"""

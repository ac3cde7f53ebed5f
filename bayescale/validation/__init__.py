"""How far a fit can be trusted: what the runs can identify, and what was tested.

``bayescale.trust`` is the function; modules are imported by path, as in
``from bayescale.validation.scores import crps``.
"""

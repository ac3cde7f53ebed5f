"""Loss curves: how the loss of one run falls with its steps and its learning rate.

==============  ===================================================================================
module          what it does
==============  ===================================================================================
``schedule``    learning rates over steps: progress, and how much of their fall has taken effect
``named``       schedules by name: cosine, WSD, linear, constant
``history``     the losses that a run has logged, from tables and trackers
``card``        priors of the curve's coefficients and of its discrepancy
``law``         the curve's equation, and its covariance given the shape of the curve
``condition``   the posterior of a curve given its first losses, by importance sampling
``course``      whether the run has left its own course, tested at every look
``learned``     priors from finished runs of the same recipe
==============  ===================================================================================

:mod:`bayescale.decisions.watch` uses them to forecast a run in progress.
"""

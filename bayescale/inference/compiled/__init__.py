"""Compiled models: machine code that is kept on disk, and coordinates that sample fast.

Why it exists. nutpie wraps PyTensor's functions in code that numba types anew in every process. The
wrappers here are plain enough for numba to keep. A second process then needs 1.9 seconds instead of
97 until a model is ready, and imports neither PyMC nor PyTensor. Preconditioning makes refits four
times as fast: chains start near a mode, in coordinates scaled by the curvature there.

==========================  =======================================================================
module                      what it does
==========================  =======================================================================
``machine``                 compiles a model, keeps the code on disk and loads it again
``code_generation``         the source of the wrappers that numba compiles
``modes``                   finds modes of a density and the curvature there
``preconditioning``         coordinates scaled at a mode, and chains that start near modes
``lazy_imports``            imports of large packages that wait until they are used
``digamma``                 a digamma that needs no Python object, so that numba can keep it
``erfcx``                   a scaled complementary error function that is faster than SciPy's
``shapes``                  shapes of variables, found without a C compiler
``pytensor_folder``         a folder that PyTensor can write to
==========================  =======================================================================

The code uses private functions of other packages; ``tests/unit/test_private_names.py`` fails when
these change. Without them, nutpie itself compiles the model, which is slower, and a warning says
so. ``docs/upstream.md`` lists the workarounds for other packages, and
``tests/unit/test_upstream.py`` fails when one is no longer needed.
"""

PRIVATE_NAMES = {
    "nutpie.compile_pymc": (
        "_make_functions",
        "_compute_shapes",
        "_prepare_dims_and_coords",
        "CompiledPyMCModel",
    ),
    "numba.core.compiler": ("Compiler",),
    "numba.core.codegen": ("CPUCodeLibrary",),
    "pytensor.link.numba.dispatch.basic": ("register_funcify_and_cache_key", "numba_njit"),
    "pymc.initial_point": ("make_initial_point_expression",),
}
"""Names of other packages that are not public, by module."""

PRIVATE_ARGUMENTS = {
    "nutpie.compile_pymc._make_functions": (
        "model",
        "mode",
        "compute_grad",
        "join_expanded",
        "pymc_initial_point_fn",
    ),
}
"""Arguments that those functions are called with."""

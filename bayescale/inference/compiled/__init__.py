"""Compiled models: machine code that is kept on disk, and coordinates that sample fast.

Why it exists. PyTensor makes a function of every operation, and nutpie wraps them in code that
numba types anew in every process. Here a model's graphs become three functions of plain loops,
which are translated to LLVM and kept as machine code: a second process compiles nothing, and
imports neither PyMC nor PyTensor. Preconditioning makes refits four times as fast: chains start
near a mode, in coordinates scaled by the curvature there.

==========================  =======================================================================
module                      what it does
==========================  =======================================================================
``machine``                 compiles a model, keeps the code on disk and loads it again
``code_generation``         a model's functions, from their graphs to machine code
``graph_source``            a PyTensor graph as the source of one function
``graph_operations``        the lines of each operation of a graph on numbers and elements
``graph_parts``             the lines of operations on parts of arrays
``graph_matrices``          the lines of operations on matrices
``scalar_source``           operations on numbers as expressions
``special``                 functions that generated code calls
``digamma``, ``erfcx``      two of these functions
``coordinates``             from the coordinates of the chains to those of the model
``llvm_module``             functions as machine code, which is optimized and loaded by LLVM
``llvm_body``               the body of a function in the language of LLVM
``llvm_arrays``             arrays in this language
``llvm_numbers``            numbers in this language
``vector_math``             exponentials, logarithms and powers of several numbers
``modes``                   finds modes of a density and the curvature there
``preconditioning``         coordinates scaled at a mode, and chains that start near modes
``lazy_imports``            imports of large packages that wait until they are used
``shapes``                  shapes of variables, found without a C compiler
``pytensor_folder``         a folder that PyTensor can write to
==========================  =======================================================================

The code uses private functions of other packages; ``tests/unit/test_private_names.py`` fails when
these change. Without them, or if a model has an operation that cannot be written as a loop, nutpie
itself compiles the model, which is slower, and a warning says so. ``docs/upstream.md`` lists the
workarounds for other packages, and ``tests/unit/test_upstream.py`` fails when one is no longer
needed.
"""

PRIVATE_NAMES = {
    "nutpie.compile_pymc": (
        "_make_functions",
        "_compute_shapes",
        "_prepare_dims_and_coords",
        "CompiledPyMCModel",
    ),
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

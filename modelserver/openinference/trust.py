"""The names that a stored model may use. Pure but for imports of scikit-learn, NumPy and SciPy.

A pickle names what it wants imported and called, so whoever may upload a model could otherwise run any code in here.
Allowed are the classes of scikit-learn, which are what models are made of, and the few functions with which arrays,
random states and compiled classes come back. No other function is: not even scikit-learn's.
"""

import importlib

# Not made for what comes from outside.
_CLOSED = ("sklearn.externals", "sklearn.utils._testing", "sklearn.datasets")
_LIBRARIES = ("sklearn", "scipy.sparse")
_ARRAYS = frozenset(
    {
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy.random._mt19937", "MT19937"),
        ("numpy.random._pcg64", "PCG64"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("numpy.random.bit_generator", "SeedSequence"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
        ("numpy.ma.core", "MaskedArray"),
        ("numpy.ma.core", "_mareconstruct"),
    }
)
_PLAIN = frozenset(
    {("builtins", name) for name in ("set", "frozenset", "slice", "complex", "bytearray")}
    | {("collections", "OrderedDict"), ("collections", "defaultdict"), ("copyreg", "_reconstructor")}
    | {("builtins", "object"), ("_codecs", "encode")}
)


def is_trusted(module: str, name: str) -> bool:
    """Whether a stored model may name this. A name with dots would lead on to what a module has imported."""
    if (module, name) in _ARRAYS or (module, name) in _PLAIN:
        return True
    if "." in name or _is_in(module, _CLOSED) or not _is_in(module, _LIBRARIES):
        return False
    # How Cython's classes come back.
    if name.startswith("__pyx_unpickle_") or name == "newObj":
        return True
    try:
        named = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(named, type) and _is_in(named.__module__, _LIBRARIES) and not _is_in(named.__module__, _CLOSED)


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)

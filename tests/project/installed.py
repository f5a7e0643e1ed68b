"""Test an installed wheel in an environment that has only NumPy and SciPy beside it.

`make wheel` runs this script outside the checkout. A doctest that needs a missing package is skipped and listed.
Any other failure is an error.
"""

import doctest
import importlib
import pkgutil
import re
import sys
from importlib.metadata import metadata, requires
from importlib.util import find_spec

import numpy as np

import paperlib


def missing(error):
    """Return the name of the missing package that caused the error. Raise any other error again."""
    name = (error.name or str(error).partition(":")[0]).partition(".")[0]
    if name == "paperlib" or not name.isidentifier() or find_spec(name):
        raise error
    return name


def description():
    """Check the page of a package index: its text, without relative links."""
    text = metadata("neural-born-series").get_payload()
    assert len(text) > 1000 and not re.search(r"\]\((?!https?://)", text)


def doctests():
    """Run all doctests.

    Return the number of examples that ran in each module, and for each skipped module or doctest the package that
    it needs.
    """
    ran, left_out = {}, {}
    for info in pkgutil.walk_packages(paperlib.__path__, "paperlib."):
        if info.name == "paperlib.__main__":
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            left_out[info.name] = missing(error)
            continue
        for test in doctest.DocTestFinder(exclude_empty=True).find(module):
            try:
                # The debug runner stops at the first failing example and raises its
                # exception.
                doctest.DebugRunner(verbose=False).run(test)
                ran[info.name] = ran.get(info.name, 0) + len(test.examples)
            except doctest.UnexpectedException as failure:
                if not isinstance(failure.exc_info[1], ModuleNotFoundError):
                    raise
                left_out[test.name] = missing(failure.exc_info[1])
    return ran, left_out


def smoke():
    """Check one result of each part: exact physics, the Born series, the pretrained networks, and their derivatives."""
    U = paperlib.potentials.square_well(depth=0.5, d=64)
    k = np.sqrt(0.5)
    np.testing.assert_allclose(
        paperlib.scattering.scattering_length(U), 1 - np.tan(k) / k, rtol=1e-12
    )
    np.testing.assert_allclose(
        paperlib.born.born_terms(U, 30).sum(), 1 - np.tan(k) / k, rtol=1e-12
    )
    ensemble = paperlib.pretrained.ensemble("scattering_lengths")
    np.testing.assert_allclose(
        ensemble.mean(U), paperlib.scattering.scattering_length(U), rtol=0.02
    )
    step = 1e-4 * np.ones(64)
    gradient = paperlib.taylor.derivative_tensor(ensemble.member(0), 1, U).full()
    slope = (ensemble.member(0)(U + step) - ensemble.member(0)(U - step)) / 2
    np.testing.assert_allclose(gradient @ step, slope, rtol=1e-6)


def main():
    assert paperlib.__file__.startswith(sys.prefix), (
        f"{paperlib.__file__}: not the installed one"
    )
    needed = [line for line in requires("neural-born-series") if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in needed) == [
        "lazy-loader",
        "numpy",
        "scipy",
    ], needed
    description()
    smoke()
    ran, left_out = doctests()
    assert ran, "no doctest ran"
    print(f"{sum(ran.values())} examples of {len(ran)} modules ran; left out:")
    for name, package in left_out.items():
        print(f"  {name:44} needs {package}")


if __name__ == "__main__":
    main()

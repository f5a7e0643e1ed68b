"""Validate the docstrings of the public API with numpydoc."""

import inspect
import sys
from types import ModuleType

from numpydoc.validate import validate

import paperlib

# Checks that are not applied, each for a reason.
IGNORED = {
    "ES01",  # an extended summary, where the summary says everything
    "SA01",  # a "See Also" section, where a module has few functions
    "RT03",  # a description of the returned value, where name and type say it
}


def public():
    """Yield the full name of every public function, class, method and property."""
    seen = set()
    for name in paperlib.__all__:
        module = getattr(paperlib, name)
        if not isinstance(module, ModuleType):
            continue
        for each in getattr(module, "__all__", ()):
            entry = getattr(module, each)
            if callable(entry) and entry not in seen:
                seen.add(entry)
                yield f"{entry.__module__}.{entry.__qualname__}"
                if inspect.isclass(entry):
                    yield from methods(entry)


def methods(kind):
    """Yield the full names of the public methods and properties of a class."""
    for name, value in vars(kind).items():
        documented = callable(getattr(kind, name, None)) or isinstance(value, property)
        if documented and (name == "__call__" or not name.startswith("_")):
            yield f"{kind.__module__}.{kind.__qualname__}.{name}"


def main():
    """Print every fault and return their number, at most 1."""
    count = 0
    for name in public():
        for code, text in validate(name)["errors"]:
            if code not in IGNORED:
                count += 1
                print(f"{name}: {code} {text}")
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())

"""Validate JSON files by the schemas in this folder.

An error message names the place in the file, the value, and the allowed values.
"""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from paperlib._support import validation
from paperlib._support.files import read_json


@cache
def _validator(kind: str) -> Callable[[Any], Any]:
    """Compile the schema in KIND.schema.json to a function that validates JSON content."""
    import fastjsonschema

    schema = (files(__package__) / f"{kind}.schema.json").read_text(encoding="utf-8")
    return fastjsonschema.compile(json.loads(schema))


def read(path: str | Path, kind: str) -> Any:
    """Read a JSON file and validate it.

    Parameters
    ----------
    path : path
        The file.
    kind : str
        The name of the schema: "record", "seed_variation" or "claims".

    Returns
    -------
    dict
        The content of the file.

    Raises
    ------
    ValueError
        If the file does not follow the schema.
    ModuleNotFoundError
        If fastjsonschema is not installed.
    """
    try:
        from fastjsonschema import JsonSchemaValueException
    except ModuleNotFoundError:
        needs = "records are read with it; pip install 'neural-born-series[notebooks]'"
        raise ModuleNotFoundError(f"fastjsonschema: {needs}") from None
    content = read_json(path)
    try:
        return _validator(kind)(content)
    except JsonSchemaValueException as error:
        # The error's own message does not contain the value. A name in its path may be
        # long or have several lines.
        place = validation.brief(str(error.name).replace("data", kind, 1))[1:-1]
        allowed = error.definition["description"]
        raise ValueError(
            f"{path}: {place} = {validation.brief(error.value)}: must be {allowed}"
        ) from None

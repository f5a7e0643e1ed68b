"""JSON held to a schema, which lies in a file beside this: what is refused is told by its place, its value and what is allowed."""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from paperlib._support import checks
from paperlib._support.files import read_json

__all__ = ["read"]


@cache
def _validator(kind: str) -> Callable[[Any], Any]:
    import fastjsonschema

    schema = (files(__package__) / f"{kind}.schema.json").read_text(encoding="utf-8")
    return fastjsonschema.compile(json.loads(schema))


def read(path: str | Path, kind: str) -> Any:
    """Read JSON of a kind, "record", "spreads" or "claims"; a ValueError if the file holds something else."""
    try:
        from fastjsonschema import JsonSchemaValueException
    except ModuleNotFoundError:
        needs = "records are read with it; pip install 'neural-born-series[notebooks]'"
        raise ModuleNotFoundError(f"fastjsonschema: {needs}") from None
    content = read_json(path)
    try:
        return _validator(kind)(content)
    except JsonSchemaValueException as error:
        # A name in its path may be long, and of several lines; its message does not tell the value.
        place = checks.brief(str(error.name).replace("data", kind, 1))[1:-1]
        allowed = error.definition["description"]
        raise ValueError(f"{path}: {place} = {checks.brief(error.value)}: must be {allowed}") from None

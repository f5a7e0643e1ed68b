"""Run notebooks without a browser, record their results, and compare the results.

The last cells of a notebook write its numbers and figures to a results folder.
`reproduce` runs the notebooks and returns this folder, `compare` compares it with the
results stored in the repository, and `write_report` writes the comparison to an HTML
page. `store` replaces the stored results.
"""

from paperlib._support.determinism import FIXED as ARITHMETIC
from paperlib.companion.reproduction.claims import (
    Case,
    Claim,
    ControlError,
    Criterion,
    decide,
    read_claims,
    write_claims,
)
from paperlib.companion.reproduction.comparison import (
    Verdict,
    compare,
    compare_networks,
    store,
)
from paperlib.companion.reproduction.records import (
    Number,
    Table,
    errors_by_order,
    read_record,
    record,
)
from paperlib.companion.reproduction.report import provenance, write_report
from paperlib.companion.reproduction.run_notebooks import (
    PROFILES,
    notebook_parameters,
    notebooks,
    reproduce,
    run_notebook,
)
from paperlib.companion.reproduction.seed_variation import (
    guarded_numbers,
    measure_seed_variation,
    read_seed_variation,
)

__all__ = [
    "ARITHMETIC",
    "Case",
    "Claim",
    "ControlError",
    "Criterion",
    "Number",
    "PROFILES",
    "Table",
    "Verdict",
    "compare",
    "compare_networks",
    "decide",
    "errors_by_order",
    "guarded_numbers",
    "measure_seed_variation",
    "notebook_parameters",
    "notebooks",
    "provenance",
    "read_claims",
    "read_record",
    "read_seed_variation",
    "record",
    "reproduce",
    "run_notebook",
    "store",
    "write_claims",
    "write_report",
]

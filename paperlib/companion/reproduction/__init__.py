"""What makes the companion reproducible: recorded results, notebooks that run headless, and comparison.

A notebook ends by recording its numbers and figures in a results folder. Running the notebooks fills that folder
anew; comparing it with what the repository stores gives the verdicts of the report.
"""

from paperlib.companion.reproduction.claims import CLAIMS, Claim, claim_table
from paperlib.companion.reproduction.comparison import Verdict, compare, store
from paperlib.companion.reproduction.records import Number, errors_by_order, read_record, record
from paperlib.companion.reproduction.report import write_report
from paperlib.companion.reproduction.runner import notebook_parameters, notebooks, reproduce, run_notebook
from paperlib.companion.reproduction.table import Table

__all__ = [
    "CLAIMS", "Claim", "Number", "Table", "Verdict", "claim_table", "compare", "errors_by_order", "notebook_parameters",
    "notebooks", "read_record", "record", "reproduce", "run_notebook", "store", "write_report",
]  # fmt: skip

"""Test that changing the input lists of a table does not change the table."""

from paperlib.companion.reproduction.records import Table


def test_a_table_does_not_follow_the_lists_it_was_given():
    columns, cells = ["1st", "2nd"], [0.5, 0.25]
    rows = {"error": cells}
    table = Table("order", columns, rows)
    shown = repr(table)
    columns.append("3rd")
    cells[0] = 1.0
    rows["another"] = [1.0]
    assert repr(table) == shown

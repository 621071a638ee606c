"""Tables are checked against their schemas, and errors name row and field."""

from __future__ import annotations

import pyarrow as pa
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.results.schemas import CURVES, RESULTS, check_curves, check_results
from tests.report.made_up import curves_table, point, result, results_table


def test_valid_tables_are_unchanged(results, curves):
    assert check_results(results).equals(results)
    assert check_curves(curves).equals(curves)


def test_narrower_numbers_are_widened(results):
    table = results.set_column(results.schema.get_field_index("seed"), "seed", results["seed"].cast(pa.int32()))
    assert check_results(table).schema == RESULTS


@pytest.mark.parametrize("column", [field.name for field in RESULTS if not field.nullable])
def test_a_missing_column_is_named(results, column):
    with pytest.raises(InputError, match=rf"results\.parquet, field '{column}'"):
        check_results(results.drop_columns([column]))


@pytest.mark.parametrize(("field", "value"), [("epoch", "3"), ("policy", "argmax")])
def test_an_unknown_value_is_named_with_its_row(field, value):
    rows = [result("a2c", 0, "0", 1.0), result("a2c", 1, "0", 1.0) | {field: value}]
    with pytest.raises(InputError, match=rf"row 2, field '{field}'.*'{value}'"):
        check_results(results_table(rows))


def test_text_instead_of_numbers(results):
    index = results.schema.get_field_index("return")
    with pytest.raises(InputError, match="field 'return'"):
        check_results(results.set_column(index, "return", results["return"].cast(pa.string())))


def test_a_duplicate_measurement():
    with pytest.raises(InputError, match=r"row 2: .* twice"):
        check_results(results_table([result("a2c", 0, "0", 1.0), result("a2c", 0, "0", 2.0)]))


def test_no_results_are_an_error_but_no_curves_are_not():
    with pytest.raises(InputError, match="no rows"):
        check_results(RESULTS.empty_table())
    assert check_curves(pa.table({})).schema == CURVES


def test_alpha_may_be_absent():
    table = curves_table([point("a2c", 0, 0, 1.0)]).drop_columns(["alpha"])
    assert check_curves(table)["alpha"].null_count == 1


def test_an_unknown_series():
    with pytest.raises(InputError, match="field 'series'"):
        check_curves(curves_table([point("a2c", 0, 0, 1.0, "validation")]))

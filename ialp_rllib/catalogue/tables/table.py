"""An open data file, and the SQL expressions that convert its columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ialp_rllib.catalogue.problems import location
from ialp_rllib.catalogue.tables.duck import literal
from ialp_rllib.catalogue.tables.formats import is_json
from ialp_rllib.errors import InputError

_INTEGERS = {"INTEGER", "UINTEGER"}
_INTEGERS |= {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")}
_FLOATS = ("FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class Table:
    """An open data file.

    Attributes:
        path: the file.
        kind: its format, as messages call it.
        columns: column name -> type in DuckDB; ``JSON`` for the keys of JSON lines.
        relation: SQL of the rows, with the row number ``row`` and the columns ``c0, c1, ...`` (JSON lines: ``json``).
            Malformed rows of delimited files are skipped and recorded.
        rejects: name of the table in which DuckDB records them; empty: none.
        header: number of lines before the first row.
        nested: whether the rows come from lists, whose members the column ``sub`` counts.
        setting: name of the group of settings that describes the file, for messages: ``catalogue.items``.
    """

    path: Path
    kind: str
    columns: dict[str, str]
    relation: str
    rejects: str = ""
    header: int = 0
    setting: str = ""
    nested: bool = False

    @property
    def malformed(self) -> str:
        """SQL condition: the row is not a JSON object with distinct keys (JSON lines)."""
        if not is_json(self.kind):
            return "false"
        return f"(coalesce(json_type(json) <> 'OBJECT', true) OR {_has_duplicate_keys('json')})"

    def invalid_id(self, column: str) -> str:
        """SQL condition: the value of an id column is neither a string nor an integer (JSON lines)."""
        if not is_json(self.kind):
            return "false"
        kind = self.json_kind(column)
        # DuckDB reports integers beyond 64 bits as DOUBLE, but json_extract_string keeps all digits.
        large = f"({kind} = 'DOUBLE' AND regexp_full_match({self.raw(column)}, '-?[0-9]+'))"
        return f"coalesce({kind} NOT IN ('VARCHAR', 'UBIGINT', 'BIGINT', 'NULL') AND NOT {large}, false)"

    def raw(self, column: str) -> str:
        """SQL of a column, unconverted."""
        if is_json(self.kind):
            return f"json_extract_string(json, {literal(_pointer(column))})"
        return f"c{list(self.columns).index(column)}"

    def json_kind(self, column: str) -> str:
        """SQL of the type of a value (JSON)."""
        return f"json_type(json, {literal(_pointer(column))})"

    def members(self, column: str) -> str:
        """SQL of a column that holds lists; NULL where a value is no list (JSON)."""
        if not is_json(self.kind):
            return self.raw(column)
        members = f"""from_json(json_extract(json, {literal(_pointer(column))}), '["VARCHAR"]')"""
        return f"CASE WHEN {self.json_kind(column)} = 'ARRAY' THEN {members} END"

    def id(self, column: str) -> str:
        """SQL of an id as text; NULL if it is empty or white space.

        Raises:
            InputError: the column has a type that cannot be an id.
        """
        kind = self.columns[column]
        if kind not in _INTEGERS and kind not in ("VARCHAR", "JSON", '"NULL"') and not kind.startswith("ENUM"):
            raise InputError(location(self.path, column=column), f"has {kind} values", "strings or integers")
        text = f"CAST({self.raw(column)} AS VARCHAR)"
        return f"CASE WHEN trim({text}, E' \\t\\r\\n') <> '' THEN {text} END"

    def text(self, column: str, separator: str = ", ") -> str:
        """SQL of an attribute as text; NULL if it is empty.

        Args:
            separator: joins the members of a list.

        Raises:
            InputError: the column has a type that cannot be shown as text.
        """
        kind, raw = self.columns[column], self.raw(column)
        if kind.startswith(("STRUCT", "MAP", "BLOB")):
            raise InputError(location(self.path, column=column), f"has {kind.split('(')[0]} values", "text")
        if kind == "JSON":
            pointer = literal(_pointer(column))
            members = f"""from_json(json_extract(json, {pointer}), '["VARCHAR"]')"""
            joined = f"array_to_string({members}, {literal(separator)})"
            raw = f"CASE json_type(json, {pointer}) WHEN 'ARRAY' THEN {joined} ELSE {raw} END"
        elif kind.endswith("[]"):
            raw = f"array_to_string(CAST({raw} AS VARCHAR[]), {literal(separator)})"
        return f"nullif(trim(CAST({raw} AS VARCHAR)), '')"

    def display(self, column: str) -> str:
        """SQL of a value as text, for messages; NULL if it is empty."""
        return f"nullif(trim(CAST({self.raw(column)} AS VARCHAR)), '')"

    def integer(self, column: str) -> str:
        """SQL of a value as an integer; NULL if it is none."""
        if self.columns[column] in _INTEGERS:
            return f"TRY_CAST({self.raw(column)} AS BIGINT)"
        digits = f"CASE WHEN regexp_full_match({self.display(column)}, '[+-]?[0-9]+') THEN {self.display(column)} END"
        number = self.number(column)  # 3.0 is accepted
        rounded = f"CASE WHEN floor({number}) = {number} AND abs({number}) < 9e15 THEN {number} END"
        return f"coalesce(TRY_CAST({digits} AS BIGINT), TRY_CAST({rounded} AS BIGINT))"

    def number(self, column: str) -> str:
        """SQL of a value as a number; NULL if it is none."""
        numeric = self.columns[column] in _INTEGERS or self.columns[column].startswith(_FLOATS)
        if numeric:
            return f"TRY_CAST({self.raw(column)} AS DOUBLE)"
        text = self.display(column)  # DuckDB would read 3_5 as 35
        return f"CASE WHEN NOT contains({text}, '_') THEN TRY_CAST({text} AS DOUBLE) END"

    def times(self, column: str, form: str = "") -> tuple[str, str]:
        """SQL of a time, and of whether it is a date: a number in whatever unit, or a date as Unix seconds.

        A date may have a time of day and a time zone (UTC by default).

        Args:
            form: format of the dates, as in strptime; empty: ISO 8601.
        """
        kind = self.columns[column]
        if kind in _INTEGERS or kind.startswith(_FLOATS):
            return self.number(column), "false"
        moment = f"epoch(TRY_CAST({self.raw(column)} AS TIMESTAMPTZ))"  # AS TIMESTAMP drops the time zone
        if kind.startswith(("TIMESTAMP", "DATE")):
            return moment, "true"
        if form:
            return f"epoch(try_strptime({self.display(column)}, {literal(form)}))", "true"
        number = self.number(column)
        return f"coalesce({number}, {moment})", f"({number} IS NULL)"

    def seconds(self, column: str) -> str:
        """SQL of a time as a number in whatever unit, or of a date in Unix seconds."""
        return self.times(column)[0]


def _has_duplicate_keys(json: str) -> str:
    return f"coalesce(list_unique(json_keys({json})) <> len(json_keys({json})), false)"


def _pointer(key: str) -> str:
    """JSON pointer (RFC 6901) to a key of the top-level object."""
    return "/" + key.replace("~", "~0").replace("/", "~1")

"""What is copied from the store: the types of each table's columns on the way to a DataFrame.

A column has a raw type, as SQLite returns it, and a cast that gives its type in DuckDB. Text that is not a date, and
anything else that a foreign tool has put where the rules do not allow it, becomes NULL. The bits of the hidden column
``bad_values`` tell in which columns of a row that happened, so that counting costs at most a scan of zeros.

The rules are those of `records.tables.Rule`, here in DuckDB's SQL; a test compares what becomes NULL with what
`StorageManager.check` finds.

Beside its columns a table may have computed ones: the day of a date, in the zone of its owner.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from finlab_nb.records.rules import Kind, Rule

_DUCKDB_TYPES: Final[dict[Kind, str]] = {
    "text": "VARCHAR",
    "float": "DOUBLE",
    "whole": "BIGINT",
    "flag": "BOOLEAN",
    "date": "TIMESTAMP",
    "moment": "TIMESTAMP WITH TIME ZONE",
    "object": "VARCHAR",
    "array": "VARCHAR",
}

_MOMENT: Final = (
    r"\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d+)?)?"  # a day and a time
    r"(Z|[+-](0\d|1[0-4]):[0-5]\d)?"
)
# What DuckDB takes beyond JSON, outside of its strings: NaN, Infinity, and a comma before the closing bracket.
_NOT_JSON: Final = r"""(?is)^([^"]|"([^"\\]|\\.)*")*(nan|inf|,\s*[\]}])"""
# Most text begins with a character of ASCII that is no blank; to ask for that first is four times as fast.
_NOT_BLANK: Final = r"({raw} >= '!' AND {raw} < '~' OR regexp_matches({raw}, '[^\t-\r\x1c-\x1f\x85\p{{Z}}]'))"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its kind, and the rule that its values must meet beyond that."""

    name: str
    kind: Kind
    rule: Rule | None = None

    @property
    def duckdb_type(self) -> str:
        """The type that a question sees."""
        return _DUCKDB_TYPES[self.kind]

    def cast(self, *, only_days: bool = False) -> str:
        """Return the SQL that converts the raw value to this type, or to NULL."""
        raw = quoted(self.name)
        if self.kind == "flag":
            return f"CASE {raw} WHEN 0 THEN false WHEN 1 THEN true END"
        if self.kind == "date":
            return _day(raw) if only_days else _timestamp(raw)
        if self.kind == "moment":
            return f"timezone('UTC', {_timestamp(raw)})"
        if self.kind in ("object", "array"):
            return (
                f"CASE WHEN json_valid({raw}) AND NOT regexp_matches({raw}, {literal(_NOT_JSON)}) "
                f"THEN CASE json_type({raw}) WHEN '{self.kind.upper()}' THEN {raw} END END"
            )
        return raw

    @property
    def conditions(self) -> list[str]:
        """The SQL of what the rule asks of a raw value by itself, beyond its kind."""
        if self.rule is None:
            return []
        raw, rule, conditions = quoted(self.name), self.rule, list[str]()
        if self.kind == "text" and not rule.words:
            conditions.append(f"NOT contains({raw}, chr(0))")
        if not rule.blank:
            conditions.append(_NOT_BLANK.format(raw=raw))
        if rule.words:
            conditions.append(f"{raw} IN ({', '.join(map(literal, rule.words))})")
        if self.kind == "float" and not rule.infinite:
            conditions.append(f"isfinite({raw})")
        return conditions + [f"{raw} {sign} {bound:g}" for sign, bound in rule.bounds]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of raw rows before their conversion is planned, which takes longer than applying it to a save.

    Attributes
    ----------
    plain
        Whether all values meet their rules.
    only_days
        Whether no date has a time.
    zones
        The zones that moments may be in, all known to DuckDB.
    missing
        The columns that the raw rows lack, because they hold nothing.
    """

    plain: bool = False
    only_days: bool = False
    zones: Sequence[str] = ()
    missing: Collection[str] = ()


NOTHING_KNOWN: Final = Known()


@dataclass(frozen=True, slots=True)
class Day:
    """A computed column: the day of the date in another column.

    A text that is a day is that day. A moment in UTC belongs to a day of the market's zone; where the zone is unknown,
    or DuckDB does not know it, it belongs to its date.
    """

    name: str
    date: str
    kind: Literal["day"] = "day"
    duckdb_type: Literal["DATE"] = "DATE"

    @property
    def zone_of_moment(self) -> str:
        """The SQL that keeps the zone of a raw value, which counts for moments only."""
        return f"CASE WHEN length({quoted(self.date)}) > 10 THEN zone END AS zone_of_{self.name}"

    def computed(self, zones: Sequence[str]) -> str:
        """Return the SQL of this column over typed rows: a zone that is a constant costs a tenth."""
        date = quoted(self.date)
        cases = " ".join(
            f"WHEN {literal(zone)} THEN timezone({literal(zone)}, timezone('UTC', {date}))" for zone in zones
        )
        moved = f"coalesce(CASE zone_of_{self.name} {cases} END, {date})" if zones else date
        return f"{moved}::DATE AS {quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the store.

    Attributes
    ----------
    owner
        The column that tells whose row it is.
    key
        The table of the owners and its number for one, if the rows hold that number instead of the owner.
    zones
        The table that has the owner's time zone, if there are days to compute.
    days
        The computed columns.
    bucket_bits
        See `records.tables.Table.bucket_bits`.
    """

    name: str
    owner: str
    columns: tuple[Column, ...]
    key: tuple[str, str] | None = None
    zones: str | None = None
    days: tuple[Day, ...] = ()
    bucket_bits: int = 10

    @property
    def shown(self) -> tuple[Column | Day, ...]:
        """The columns that a question sees."""
        return self.columns + self.days

    @property
    def sealed_rows(self) -> int:
        """How many new rows are worth a segment: fewer if they hold code, which is slow to read without one."""
        return 2_048 if any(column.name == "code" for column in self.columns) else 16_384

    def select_raw(self, where: str, *, main: str = "", zone_index: str = "") -> str:
        """Return the SELECT of raw rows, whose table is ``t``: row_id, the columns, and the zone of the owner.

        Parameters
        ----------
        main
            What goes before the name of the table itself, whose database others may not be in.
        zone_index
            What goes after the name of the table of zones.
        """
        owner = quoted(self.owner)
        tables, held = f"{main}{self.name} AS t", f"t.{owner}"
        if self.key is not None:
            name, number = self.key
            tables, held = f"{tables} LEFT JOIN {name} AS k ON k.{number} = t.{number}", f"k.{owner}"
        names = [held if column.name == self.owner else f"t.{quoted(column.name)}" for column in self.columns]
        if self.zones is not None:
            names.append("z.timezone AS zone")
            tables += f" LEFT JOIN {self.zones} AS z {zone_index} ON z.{owner} = {held} AND z.timezone IS NOT NULL"
        return f"SELECT t.rowid AS row_id, {', '.join(names)} FROM {tables} WHERE {where}"

    def looked_up(self) -> dict[str, list[str]]:
        """Return what `select_raw` reads of other tables, by table.

        Every owner is to be found: DuckDB puts rows that find none behind others.
        """
        found: dict[str, list[str]] = {}
        if self.key is not None:
            found[self.key[0]] = [self.key[1], self.owner]
        if self.zones is not None:
            found[self.zones] = [*found.get(self.zones, [self.owner]), "coalesce(timezone, '') AS timezone"]
        return found

    def typed_rows(self, raw_rows: str, known: Known = NOTHING_KNOWN) -> str:
        """Return the SELECT that turns raw rows into typed ones.

        Raw rows also have ``misfits``: the bits of the columns whose value had a type that they cannot hold. The SELECT
        has each cast only once, because planning a cast takes longer than applying it to the rows of a save.
        """
        casts, checked = [], []
        for place, column in enumerate(self.columns):
            name = quoted(column.name)
            if column.name in known.missing:
                casts.append(f"NULL::{column.duckdb_type} AS {name}")
                continue
            condition, cast = "" if known.plain else self._condition(column), column.cast(only_days=known.only_days)
            casts.append(f"{f'CASE WHEN {condition} THEN {cast} END' if condition else cast} AS {name}")
            if condition or column.kind not in ("text", "float", "whole"):
                checked.append((place, name))
        given = "".join(f", {name} IS NOT NULL AS given_{place}" for place, name in checked)
        lost = "".join(
            f" | CASE WHEN given_{place} AND {name} IS NULL THEN {1 << place} ELSE 0 END" for place, name in checked
        )
        dated = [day for day in self.days if known.zones and day.date not in known.missing]
        moments = "".join(f", {day.zone_of_moment}" for day in dated)
        days = "".join(f", {day.computed(known.zones if day in dated else ())}" for day in self.days)
        return (
            f"SELECT row_id, {self.stored_names}{days}, (misfits{lost})::INTEGER AS bad_values "
            f"FROM (SELECT row_id, misfits, {', '.join(casts)}{given}{moments} FROM {raw_rows})"
        )

    def _condition(self, column: Column) -> str:
        """Return the SQL that tells whether a raw value of the right kind meets its rule; empty if all do."""
        if column.rule is None:
            return ""
        conditions, name = column.conditions, quoted(column.name)
        if column.rule.not_before is not None:
            earlier, has_misfit = self._other(column.rule.not_before)
            # The days are only compared where the whole dates do not tell.
            conditions.append(
                f"({earlier} IS NULL AND NOT {has_misfit} OR {name} >= {earlier} "
                f"OR left({name}, 10) >= left({earlier}, 10))"
            )
        if column.rule.needs is not None:
            needed, has_misfit = self._other(column.rule.needs)
            conditions.append(f"({needed} IS NOT NULL OR {has_misfit})")
        return " AND ".join(conditions)

    def _other(self, name: str) -> tuple[str, str]:
        """Return the SQL for a column's raw value, and for whether it is only NULL because it does not fit."""
        place = next(place for place, column in enumerate(self.columns) if column.name == name)
        return quoted(name), f"(misfits & {1 << place} > 0)"

    @property
    def definition(self) -> str:
        """The column list of a DuckDB table that holds typed rows, row_id first."""
        columns = [f"{quoted(column.name)} {column.duckdb_type}" for column in self.shown]
        return ", ".join(["row_id BIGINT", *columns, "bad_values INTEGER"])

    @property
    def stored_names(self) -> str:
        """The names of the stored columns as a select list."""
        return ", ".join(quoted(column.name) for column in self.columns)

    @property
    def names(self) -> str:
        """The names of all columns that a question sees as a select list."""
        return ", ".join(quoted(column.name) for column in self.shown)


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return text as an SQL literal, for statements that take no parameters."""
    parts = ("'" + part.replace("'", "''") + "'" for part in text.split("\0"))
    return f"({' || chr(0) || '.join(parts)})" if "\0" in text else next(parts)


def _day(raw: str) -> str:
    """Return the SQL that converts text of ten characters; writing the day out again is the cheapest exact check."""
    return f"CASE WHEN TRY_CAST({raw} AS DATE)::VARCHAR = {raw} THEN TRY_CAST({raw} AS TIMESTAMP) END"


def _timestamp(raw: str) -> str:
    """Return the SQL that converts text in ISO 8601 to a TIMESTAMP in UTC.

    DuckDB itself would also take '2024/1/5', 'epoch' and 'infinity', and drop an offset. The cast with an offset is by
    far the most expensive.
    """
    with_seconds = f"regexp_replace({raw}, '^(.{{16}})([+-])', '\\1:00\\2')"  # DuckDB takes no offset without them
    return f"""CASE
        WHEN length({raw}) = 10 THEN {_day(raw)}
        WHEN {raw} >= '0001' AND regexp_full_match({raw}, {literal(_MOMENT)}) THEN CASE
            WHEN {raw}[-6] NOT IN ('+', '-') THEN TRY_CAST(rtrim({raw}, 'Z') AS TIMESTAMP)
            WHEN {raw} BETWEEN '0001-01-02' AND '9999-12-31'
                THEN timezone('UTC', TRY_CAST({with_seconds} AS TIMESTAMP WITH TIME ZONE)) END
        END"""


def parquet(files: str) -> str:
    """Return the table function that reads Parquet files, given as SQL, without a guess from their path."""
    return (
        f"read_parquet({files}, hive_partitioning = false, union_by_name = false, filename = false, "
        "file_row_number = false, binary_as_string = false)"
    )

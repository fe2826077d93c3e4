"""The JSON Schema of a version of the format: that of 1.0, published as a file, and what later versions have added.

What is added follows from the table of versions and from the kinds of the stored columns.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final, TypeAlias

from finlab_nb.records.tables import ITERATIONS, STRATEGIES, TABLES, Kind, Rule
from finlab_nb.store.interchange import as_stored
from finlab_nb.store.interchange.versions import NEWEST, OLDEST, Version

_Schema: TypeAlias = dict[str, Any]

_TYPES: Final[dict[Kind, str]] = {
    "text": "string",
    "float": "number",
    "whole": "integer",
    "flag": "boolean",
    "date": "string",
    "moment": "string",
    "object": "object",
    "array": "array",
}
_BOUNDS: Final = {">=": "minimum", "<=": "maximum", ">": "exclusiveMinimum"}
_DEFINITIONS: Final = {
    "strategy": STRATEGIES,
    "iteration": ITERATIONS,
    "metrics": TABLES["metrics"],
    "trades": TABLES["trades"],
    "equity": TABLES["equity"],
    "suggestions": TABLES["suggestions"],
}
_NAMES: Final = {"trades": "trade", "equity": "equity_point", "suggestions": "suggestion"}
_APPLIED: Final = "applied_iteration_ids"
_LINKS: Final[_Schema] = {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}}
_STORED_VALUE: Final[_Schema] = {
    "description": "A value as SQLite holds it. A number with a point or an exponent is REAL, another one INTEGER.",
    "anyOf": [
        {"type": ["null", "string", "number"]},
        {
            "description": "A BLOB, or text that is no UTF-8.",
            "type": "object",
            "properties": {
                "type": {"enum": ["blob", "text"]},
                "base64": {"type": "string", "contentEncoding": "base64"},
            },
            "required": ["type", "base64"],
            "additionalProperties": False,
        },
        {
            "description": "A REAL that is no JSON number.",
            "type": "object",
            "properties": {"type": {"const": "real"}, "value": {"enum": ["Infinity", "-Infinity"]}},
            "required": ["type", "value"],
            "additionalProperties": False,
        },
    ],
}


def json_schema(version: Version = NEWEST) -> _Schema:
    """Return the JSON Schema (draft 2020-12) of a version of the export format."""
    file = resources.files("finlab_nb.store.interchange") / "export_format_1_0.json"
    schema: _Schema = json.loads(file.read_text(encoding="utf-8"))
    if version is OLDEST:
        return schema
    schema["$id"] = f"urn:finlab-nb:export:{version.name}"
    schema["title"] = f"finlab_nb export, format {version.name}"
    schema["properties"]["format_version"] = {"const": version.name}
    definitions = schema["$defs"]
    definitions["stored_value"] = _STORED_VALUE
    for kind, table in _DEFINITIONS.items():
        properties = definitions[_NAMES.get(kind, kind)]["properties"]
        for name in version.fields(kind).optional:
            if name != "as_stored":
                properties[name] = _LINKS if name == _APPLIED else _optional(table.column(name).rule)
    for kind in ("strategy", "iteration"):
        _add_as_stored(definitions[kind], kind, version)
    return schema


def _optional(rule: Rule) -> _Schema:
    """Return the schema of a column that may be unknown."""
    schema: _Schema = {
        "type": [_TYPES[rule.kind], "null"],
        "description": f"{rule.allowed[:1].upper()}{rule.allowed[1:]}.",
    }
    if not rule.blank:
        schema["minLength"] = 1
    return schema | {_BOUNDS[sign]: bound for sign, bound in rule.bounds}


def _add_as_stored(definition: _Schema, kind: str, version: Version) -> None:
    """Let an object carry fields as they are stored; just these are null then."""
    carried = {
        name: _stored_rows(name, version) if name in version.rows else {"$ref": "#/$defs/stored_value"}
        for name in as_stored.fields(kind, version)
    }
    ordinary, with_strategy = definition["properties"], definition.get("then", {}).get("properties", {})
    definition["allOf"] = [
        {
            "if": {"required": ["as_stored"], "properties": {"as_stored": {"required": [name]}}},
            "then": {"properties": {name: {"type": "null"}}},
            "else": {
                "properties": {name: ordinary[name]},
                "if": {"required": ["strategy"]},
                "then": {"properties": {name: with_strategy.pop(name, True)}},
            },
        }
        for name in carried
    ]
    ordinary.update(dict.fromkeys(carried, True))
    ordinary["as_stored"] = {
        "description": "Values that today's rules refuse, as they are stored; the ordinary fields are null.",
        "type": "object",
        "properties": carried,
        "additionalProperties": False,
    }
    if kind == "iteration":
        definition["dependentRequired"] = {"as_stored": ["strategy"]}


def _stored_rows(table: str, version: Version) -> _Schema:
    fields, value = version.rows[table], {"$ref": "#/$defs/stored_value"}
    several = {"type": ["array", "null"], "items": value}
    return {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {name: several if name == _APPLIED else value for name in fields.names}
            | dict.fromkeys(set(fields.passed_over) - {*fields.names}, True),
            "required": list(fields.required),
            "additionalProperties": False,
        },
    }

"""The JSON Schema of each version of the format, which is published as a file beside this module."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from finlab_nb.store.interchange.versions import NEWEST, Version


def json_schema(version: Version = NEWEST) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a version of the export format."""
    name = f"export_format_{version.name.replace('.', '_')}.json"
    file = resources.files("finlab_nb.store.interchange") / name
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema

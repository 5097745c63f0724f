"""Prints docs/http-reference.md from the OpenAPI document; each operation has an example that the tests execute.

PYTHONPATH=src .venv/bin/python scripts/http_reference.py > docs/http-reference.md
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cofio.http.app import create_app
from cofio.http.guard import describe_access
from cofio.settings import Settings

# What an example asks of a route without a body of its own; the others have theirs in the document.
ARGUMENTS: Final[Mapping[tuple[str, str], str]] = {
    ("get", "/api/v2/meetings"): "?limit=2&project=default",
    ("get", "/admin/audit"): "?limit=10",
    ("get", "/admin/export"): "?project=default",
}
BODIES: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("post", "/admin/backups"): {"Keep the newest fourteen": {"keep": 14}}
}
COUNTED: Final = ("get", "post", "delete")


def reference() -> str:
    """The page."""
    with tempfile.TemporaryDirectory() as place:
        document = copy.deepcopy(create_app(Settings(data_dir=Path(place))).openapi())
    describe_access(document)
    lines = [
        "# HTTP reference",
        "",
        "Printed by `scripts/http_reference.py` from the OpenAPI document, which a service gives at `/openapi.json`; the tests execute every "
        "example. What the fields mean and what may be expected is in [http.md](http.md). The examples take the address, a key "
        "where one is needed, and ids from here:",
        "",
        "```sh",
        "export COFIO=http://127.0.0.1:8000 COFIO_API_KEY=cofio_…",
        "export MEETING_ID=… MEMORY_ID=… OPERATION_ID=… NAME=Dana PROJECT=atlas",
        "```",
    ]
    for path, methods in document["paths"].items():
        for method in COUNTED:
            if method in methods:
                lines += ["", *_operation(document, path, method, methods[method])]
    return "\n".join(lines) + "\n"


def _operation(document: Mapping[str, Any], path: str, method: str, told: Mapping[str, Any]) -> Iterator[str]:
    yield f"## `{method.upper()} {path}`"
    yield ""
    scope = told["security"][0]["key"][0] if "security" in told else None
    needs = f"Scope `{scope}`." if scope else "No key."
    yield f"**{told['summary']}.** {' '.join(told.get('description', '').split())} {needs}".replace("  ", " ")
    if parameters := told.get("parameters"):
        yield ""
        yield "| parameter | in | |"
        yield "|---|---|---|"
        for one in parameters:
            needed = "required" if one.get("required") else "optional"
            said = " ".join(filter(None, (needed, _kind(one["schema"]), one.get("description", ""))))
            yield f"| `{one['name']}` | {one['in']} | {said} |"
    for media_type, content in told.get("requestBody", {}).get("content", {}).items():
        names = [name for name in _schemas(content["schema"]) if name in document["components"]["schemas"]]
        for name in names:
            yield ""
            yield from _fields(media_type, name, document["components"]["schemas"][name])
    yield ""
    yield "| status | |"
    yield "|---|---|"
    for status, answer in sorted(told["responses"].items()):
        yield f"| {status} | {' '.join(answer['description'].split())} |"
    for title, command in _examples(path, method, told):
        yield ""
        yield f"{title}:" if title else "For example:"
        yield ""
        yield "```sh"
        yield command
        yield "```"


def _examples(path: str, method: str, told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    address = path
    for one in told.get("parameters", ()):
        if one["in"] == "path":
            address = address.replace(f"{{{one['name']}}}", f"${one['name'].upper()}")
    start = f'curl -sS "$COFIO{address}{ARGUMENTS.get((method, path), "")}"'
    if method != "get":
        start += f" -X {method.upper()}"
    if "security" in told:
        start += ' -H "X-API-Key: $COFIO_API_KEY"'
    content = told.get("requestBody", {}).get("content", {}).get("application/json", {})
    bodies = {one["summary"]: one["value"] for one in content.get("examples", {}).values()}
    for title, body in (bodies or BODIES.get((method, path), {})).items():
        written = json.dumps(body, ensure_ascii=False, indent=2)
        yield title, f"{start} -H 'Content-Type: application/json' -d @- <<'JSON'\n{written}\nJSON"
    if not content:
        yield "", start


def _schemas(schema: Mapping[str, Any]) -> Iterator[str]:
    for one in (schema, *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        if "$ref" in one:
            yield one["$ref"].rpartition("/")[2]


def _fields(media_type: str, name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"| field of `{name}` ({media_type}) | |"
    yield "|---|---|"
    for field, of in schema.get("properties", {}).items():
        needed = "required" if field in schema.get("required", ()) else "optional"
        said = " ".join(filter(None, (needed, _kind(of), of.get("description", ""))))
        yield f"| `{field}` | {said} |"


def _kind(schema: Mapping[str, Any]) -> str:
    """The type in a word, its bounds and its default."""
    kinds = [one for one in schema.get("anyOf", (schema,)) if one.get("type") != "null"]
    words = " or ".join(dict.fromkeys(_word(one) for one in kinds))
    default = schema.get("default")
    shown = f", default `{json.dumps(default)}`" if default not in (None, [], {}) else ""
    return f"{words}{shown}."


def _word(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    word = schema.get("format") or schema.get("type", "any")
    low, high = schema.get("minimum", schema.get("minLength")), schema.get("maximum", schema.get("maxLength"))
    if low is not None and high is not None:
        bounds = f"{low:,g} to {high:,g}"
        word += f" from {bounds}" if word in ("integer", "number") else f" of {bounds}"
    return str(word)


if __name__ == "__main__":
    print(reference(), end="")

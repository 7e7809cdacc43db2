"""CEL: the rules of custom kinds (`x-kubernetes-validations`) and the match conditions of webhooks.

In: schemas and values, or an expression and its variables. Out: `Cause`s, or a verdict. Each expression is compiled once in the
life of a `Rules`. An expression that does not compile is refused where it is written (`CompileError`), one that fails while it
runs refuses the value, as the real server does.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from devcluster.schema import formats
from devcluster.schema.causes import Cause, invalid
from devcluster.schema.celfunctions import declarations
from devcluster.schema.structural import Schema, join
from devcluster.schema.values import MISSING, same, walk

RULES = "x-kubernetes-validations"
RESERVED = frozenset(
    {
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
    }
    | {"loop", "package", "namespace", "return", "var", "void", "while"}
)
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_REASONS = {"FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"}
_OPTIONAL_OLD = "cel.bind(oldSelf, hasOld ? optional.of(oldSelf) : optional.none(), ({}))"


class CompileError(Exception):
    """An expression that is no CEL."""


class EvaluationError(Exception):
    """An expression that failed while it ran."""


class Environment:
    """CEL with the functions of Kubernetes and some variables; compiles each expression once."""

    def __init__(self, *variables: str) -> None:
        self._env = cel.NewEnv(
            variables=dict.fromkeys(variables, cel.Type.DYN),
            extensions=[
                ext_strings.ExtStrings(),
                ext_math.ExtMath(),
                ext_optional.ExtOptional(),
                ext_encoders.ExtEncoders(),
                ext_bindings.ExtBindings(),
            ],
            functions=declarations(),
        )
        self._compiled: dict[str, Any] = {}

    def compile(self, expression: str) -> Any:
        """Compile, or raise CompileError."""
        if expression not in self._compiled:
            try:
                self._compiled[expression] = self._env.compile(expression)
            except RuntimeError as error:
                raise CompileError(f"compilation failed: {error}") from error
        return self._compiled[expression]

    def evaluate(self, expression: str, data: Mapping[str, Any]) -> Any:
        """Evaluate to a plain value, or raise EvaluationError."""
        found = self.compile(expression).eval(data=dict(data))
        if found.type() == cel.Type.ERROR:
            raise EvaluationError(_plainly(str(found.value())))
        return found.plain_value()


def _plainly(error: str) -> str:
    missing = re.search(r'Key not found in map : "?([^"]*)"?', error)
    return f"no such key: {missing[1]}" if missing else error.partition(": ")[2] or error


class Rules:
    """Evaluates the rules of a schema on a value."""

    def __init__(self) -> None:
        self._env = Environment("self", "oldSelf", "hasOld")

    def problems(self, schema: Schema, path: str) -> Iterator[Cause]:
        """Rules in a schema that do not compile."""
        for index, rule in enumerate(schema.get(RULES) or []):
            for field in ("rule", "messageExpression"):
                try:
                    if field in rule:
                        self._env.compile(_text(rule) if field == "rule" else rule[field])
                except CompileError as error:
                    yield invalid(f"{path}.{RULES}[{index}].{field}", rule[field], str(error))
        for name, inner in (schema.get("properties") or {}).items():
            yield from self.problems(inner, f"{path}.properties[{name}]")
        for name in ("items", "additionalProperties"):
            if isinstance(schema.get(name), dict):
                yield from self.problems(schema[name], f"{path}.{name}")

    def check(self, schema: Schema, value: Any, path: str = "", old: Any = MISSING) -> Iterator[Cause]:
        """Evaluate every rule of a schema and of what is inside it."""
        rules = schema.get(RULES)
        if rules and value is not None:
            unchanged = old is not MISSING and same(value, old)
            data = {"self": plain(schema, value), "hasOld": old is not MISSING, "oldSelf": None}
            if old is not MISSING:
                data["oldSelf"] = plain(schema, old)
            for rule in rules:
                transition = bool(re.search(r"\boldSelf\b", rule["rule"]))
                needs_old = transition and not rule.get("optionalOldSelf")
                if (needs_old and old is MISSING) or (unchanged and not transition):
                    continue
                yield from self._judge(rule, data, value, path)
        for name, item, before, inner in walk(schema, value, old):
            yield from self.check(inner, item, f"{path}[{name}]" if isinstance(name, int) else join(path, name), before)

    def _judge(self, rule: Mapping[str, Any], data: Mapping[str, Any], value: Any, path: str) -> Iterator[Cause]:
        text = rule.get("message") or f"failed rule: {rule['rule'].strip()}"
        shown = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else value
        try:
            verdict = self._env.evaluate(_text(rule), data)
        except EvaluationError as error:
            why = f"rule: {rule['rule'].strip()}" if "message" not in rule else text
            yield invalid(path, shown, f"{error} evaluating {why}")
            return
        if verdict is True:
            return
        if "messageExpression" in rule:
            text = self._message(rule["messageExpression"], data) or text
        reason = rule.get("reason", "FieldValueInvalid")
        where = path + _field_path(rule["fieldPath"]) if "fieldPath" in rule else path
        yield _failed(where.lstrip("."), reason if reason in _REASONS else "FieldValueInvalid", shown, text)

    def _message(self, expression: str, data: Mapping[str, Any]) -> str:
        try:
            made = self._env.evaluate(expression, data)
        except EvaluationError:
            return ""
        return made.strip() if isinstance(made, str) and "\n" not in made else ""


def _text(rule: Mapping[str, Any]) -> str:
    text = str(rule["rule"])
    return _OPTIONAL_OLD.format(text) if rule.get("optionalOldSelf") else text


def _failed(field: str, reason: str, shown: Any, text: str) -> Cause:
    match reason:
        case "FieldValueForbidden":
            return Cause(field, reason, f"Forbidden: {text}")
        case "FieldValueRequired":
            return Cause(field, reason, f"Required value: {text}")
        case "FieldValueDuplicate":
            return Cause(field, reason, f'Duplicate value: "{shown}"')
        case _:
            return invalid(field, shown, text)


def _field_path(text: str) -> str:
    return re.sub(r"\['([^']*)'\]", r"[\1]", text)


def plain(schema: Schema, value: Any) -> Any:
    """A value as CEL sees it: property names escaped, formats as their types, whole numbers of `number` as doubles."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        others = schema.get("additionalProperties")
        rest = others if isinstance(others, dict) else {}
        return {_escape(k) if k in properties else k: plain(properties.get(k, rest), v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(schema.get("items") or {}, item) for item in value]
    if isinstance(value, str):
        return _formatted(schema.get("format"), value)
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _formatted(form: str | None, value: str) -> Any:
    # The binding takes moments and durations as the well-known messages alone.
    try:
        if form in {"date-time", "datetime"}:
            moment = Timestamp()
            moment.FromDatetime(datetime.fromisoformat(value))
            return moment
        if form == "duration":
            length = Duration()
            length.FromTimedelta(timedelta(seconds=formats.duration(value) or 0))
            return length
        return base64.b64decode(value, validate=True) if form == "byte" else value
    except ValueError:
        return value


def _escape(name: str) -> str:
    if name in RESERVED:
        return f"__{name}__"
    for sign, escaped in _ESCAPES:
        name = name.replace(sign, escaped)
    return name

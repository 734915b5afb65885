"""The types of the values in spec.yml: text, numbers, quantities, and fields without effect."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from minipach.spec.cron_line import BadLineError, check_zone, parse_line, parse_moment
from minipach.spec.yaml_reader import Number, show

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
NAME_RULE = "letters, digits, _ and -, a letter or digit first, at most 63"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(m|[kKMGTPE]|[KMGTPE]i)?")
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,9})?(?:h|ms|m|s|us|µs|ns))+")
_DURATION_PART = re.compile(r"([0-9.]+)([a-zµ]+)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SECRET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_UNITS |= {f"{letter}i": 1024 ** (n + 1) for n, letter in enumerate("KMGTPE")}
_BAD_REF = re.compile(r"^[-/]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(^|/)\.|/$|\.lock$|\.$")

_INTERNAL = re.compile(r"(minipach(?:/.*)?)|git-annex|(?:synced|adjusted|views)/.*", re.DOTALL)


@dataclass(frozen=True)
class Label:
    """The name of a type in the reference."""

    text: str


@dataclass(frozen=True)
class Refused:
    """A field that is known and refused; Pachyderm's unset values (false, "", []) pass."""

    why: Literal["not built yet", "not supported"]
    fix: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"enum": [False, "", []], "$comment": f"{self.why.capitalize()}; {self.fix}."}

    def _check(self, value: object) -> object:
        if value is False or value in ("", []):
            return None
        raise PydanticCustomError("refused", "is {why}", {"why": self.why, "fix": self.fix})


@dataclass(frozen=True)
class OrUnset:
    """A field that may be empty text, as protobuf's JSON writes one that isn't set.

    A union with that text would report each wrong value twice, once for each member.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: object, inner: core_schema.ValidatorFunctionWrapHandler) -> object:
            return value if value == "" else inner(value)

        return core_schema.no_info_wrap_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"const": "", "type": "string"}]}


@dataclass(frozen=True)
class Noted:
    """A field that is accepted and has no effect: `text` becomes a note."""

    text: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"$comment": f"{self.text.capitalize()}."}


def _bad(problem: str, fix: str) -> PydanticCustomError:
    return PydanticCustomError("spec", "{problem}", {"problem": problem, "fix": fix})


def _text(value: object) -> object:
    # One rule for all text: a number counts as it is written; yes, no, on, off, true and false need quotes.
    if isinstance(value, Number):
        return value.text
    if isinstance(value, bool):
        raise _bad("true or false to YAML, but this is text", "put it in quotes")
    if not isinstance(value, str):
        raise _bad(f"text is needed here, not {_kind(value)}", "put it in quotes if it is text")
    if "\0" in value:
        raise _bad("a zero character, which no program can take", "remove it")
    return value


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else "this"


def _integer(value: object) -> object:
    text = value.text if isinstance(value, Number) else value
    # quoted integers too: that is how protobuf's JSON writes 64-bit numbers
    if not isinstance(text, str) or not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
        raise _bad("a whole number is needed here", "write it in digits, as in 3")
    return int(text)


def _boolean(value: object) -> object:
    if not isinstance(value, bool):
        raise _bad("true or false is needed here", "write one of them, without quotes")
    return value


def _list(value: object) -> object:
    if not isinstance(value, list):
        raise _bad("a list is needed here", "write [a, b], or one `- item` a line")
    if not value:
        raise _bad("an empty list", "give it at least one item, or remove the key")
    return value


def _any_list(value: object) -> object:
    return value if value == [] else _list(value)


def command(value: object) -> object:
    """Check a command before its words are."""
    if isinstance(value, str):
        raise _bad("a list of words is needed here, no shell reads it", "write [sh, -c, ...] or [python3, code/run.py]")
    if value == [] or (isinstance(value, list) and value[0] == ""):
        raise _bad("an empty command", "name a program, as in [python3, code/run.py]")
    return _list(value)


def _env_name(value: str) -> str:
    if not _ENV_NAME.fullmatch(value):
        raise _bad(f"{show(value)} can't be a variable's name", "use letters, digits and _, no digit first")
    if value.startswith("minipach_"):
        raise _bad(f"{show(value)}: names that begin with minipach_ are minipach's own", "take another")
    return value


def _ref(value: str) -> str:
    if whose := _INTERNAL.fullmatch(value):
        owner = "minipach" if whose[1] else "git-annex"
        raise _bad(f"{show(value)} is {owner}'s own branch", "name the one that you commit files to")
    if _BAD_REF.search(value):
        raise _bad(f"{show(value)} can't be a branch's name", "use one that `git branch` lists")
    return value


def _code(value: int) -> int:
    if not 0 <= value <= 255:
        raise _bad(f"{value} can't be an exit code", "write one from 0 to 255")
    return value


def _tries(value: int) -> int:
    if value < 1:
        raise _bad(f"{value} tries", "write 1 or more, the first one counts")
    return value


def _count(value: int) -> int:
    if value < 0:
        raise _bad(f"{value} is less than nothing", "write 0 or more")
    return value


def _quantity(value: object) -> object:
    text = value.text if isinstance(value, Number) else value
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise _bad("not a quantity", "write bytes, as in 512M, 2Gi or 1.5G")
    if found[2] == "m":
        raise _bad("thousandths of a byte", "write bytes, as in 512M or 512Mi")
    whole, _, digits = found[1].partition(".")
    scaled = int(whole + digits) * _UNITS[found[2] or ""]
    return -(-scaled // 10 ** len(digits))  # rounded up, in whole numbers: exact at any size


def _cpu(value: object) -> object:
    text = value.text if isinstance(value, Number) else value
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if not found or found[2] not in (None, "m"):
        raise _bad("not a number of CPUs", "write it as in 2, 0.5 or 500m")
    return float(found[1]) / (1000 if found[2] else 1)


def _duration(value: object) -> object:
    if value == "":  # protobuf's JSON writes a field that isn't set like this
        return 0.0
    if isinstance(value, Number) or not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise _bad("not a duration", "write it with its unit, as in 90s, 10m or 2h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(value))


def _secret_name(value: str) -> str:
    if not _SECRET.fullmatch(value):
        raise _bad(f"{show(value)} can't be a secret's name", "use letters, digits, dots, _ and -, no dot first")
    return value


def _cron_line(value: str) -> str:
    try:
        parse_line(value)
    except BadLineError as error:
        raise _bad(error.message, error.fix) from None
    return value


def _zone(value: str) -> str:
    try:
        check_zone(value)
    except BadLineError as error:
        raise _bad(error.message, error.fix) from None
    return value


def _moment(value: str) -> str:
    try:
        if value:
            parse_moment(value)
    except BadLineError as error:
        raise _bad(error.message, error.fix) from None
    return value


def project_name(value: object) -> object:
    """Return the name of a Pachyderm project, which may be written as `{name: x}`."""
    return value["name"] if isinstance(value, dict) and value.keys() == {"name"} else value


def _port(value: int) -> int:
    if not 1 <= value <= 65535:
        raise _bad(f"{value} is no port", "write a number from 1 to 65535")
    return value


def _health_path(value: str) -> str:
    if value and not re.fullmatch(r"/[!-~]{0,1000}", value):
        raise _bad(f"{show(value)} is no path of a URL", "write it from its first slash, as in /health")
    return value


def unset(value: object) -> object:
    """Return None for what protobuf's JSON writes where a field has no value."""
    return None if value is False or value in ("", []) else value


def _egress_url(value: str) -> str:
    if not value:
        return value
    try:
        parts = urllib.parse.urlsplit(value)
        host, path, bare = parts.netloc, parts.path, "@" not in parts.netloc or parts.scheme == "ssh"
        good = not (parts.query or parts.fragment) and value.isprintable() and (parts.password is None)
    except ValueError:
        raise _bad("not the address of a place", "write s3://BUCKET/PREFIX, ssh://HOST/PATH or file:///PATH") from None
    if not bare or parts.password is not None:
        raise _bad("an address with credentials", "leave them out; they come from the environment")
    steps = set(path.split("/")) & {"..", "."}
    good = good and not host.startswith("-")
    known = {"s3": bool(host), "ssh": bool(host) and path not in ("", "/"), "file": not host and path not in ("", "/")}
    if not (good and known.get(parts.scheme)) or steps or value.startswith("file:") != value.startswith("file:///"):
        raise _bad(
            f"{show(value)} is no place to write to", "write s3://BUCKET/PREFIX, ssh://HOST/PATH or file:///PATH"
        )
    return value


def error_command(value: object) -> object:
    """Check a command that may be left out before its words are."""
    return value if value == [] else command(value)


def _times(value: object) -> object:
    text = _text(value)
    assert isinstance(text, str)
    if not re.fullmatch(r"[1-9][0-9]?(\.[0-9]{1,3})?x", text) or not 1 < float(text[:-1]) <= 10:
        raise _bad(f"{show(text)} is not a factor from 1 to 10", "write 2x or 1.5x")
    return float(text[:-1])


_INTEGER_SCHEMA = WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^-?[0-9]+$"}]})
_QUANTITY_SCHEMA = WithJsonSchema({"type": ["string", "number"]})

Text = Annotated[str, BeforeValidator(_text), Label("text"), WithJsonSchema({"type": ["string", "number"]})]
Integer = Annotated[int, BeforeValidator(_integer), Label("whole number"), _INTEGER_SCHEMA]
Boolean = Annotated[bool, BeforeValidator(_boolean), Label("true or false")]
Bytes = Annotated[int, BeforeValidator(_quantity), Label("bytes, as in `2Gi`"), _QUANTITY_SCHEMA]
Cpus = Annotated[float, BeforeValidator(_cpu), Label("number, as in `0.5`"), _QUANTITY_SCHEMA]

Times = Annotated[
    float,
    BeforeValidator(_times),
    Label("factor, as in `2x`"),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?x$"}),
]
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    Label("duration, as in `90s`"),
    WithJsonSchema({"type": "string", "pattern": "^([0-9]+(\\.[0-9]*)?(h|ms|m|s|us|µs|ns))*$"}),
]

Item = TypeVar("Item")
Some = Annotated[list[Item], BeforeValidator(_list), Field(min_length=1)]
Many = Annotated[list[Item], BeforeValidator(_any_list)]
Branch = Annotated[Text, AfterValidator(_ref)]
EnvName = Annotated[Text, AfterValidator(_env_name)]
SecretName = Annotated[Text, AfterValidator(_secret_name)]
CronText = Annotated[Text, AfterValidator(_cron_line), Label("cron line")]
EgressUrl = Annotated[Text, AfterValidator(_egress_url), Label("address")]
Zone = Annotated[Text, AfterValidator(_zone), Label("timezone")]
Moment = Annotated[Text, AfterValidator(_moment), Label("date or time")]
ExitCode = Annotated[Integer, AfterValidator(_code)]
Tries = Annotated[Integer, AfterValidator(_tries)]
Count = Annotated[Integer, AfterValidator(_count)]
Port = Annotated[Integer, AfterValidator(_port)]
PortOrNone = Annotated[Integer, AfterValidator(lambda value: _port(value) if value else 0)]
HealthPath = Annotated[Text, AfterValidator(_health_path)]
Later = Annotated[Any, Refused("not built yet", "remove it for now")]

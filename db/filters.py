"""Filters: a small typed AST, a parser from SQL conditions, and its print-out for DuckDB.

- No SQL text crosses into the store: text is parsed by sqlglot into this AST by an allow list, values become parameters.
- Comparison, ``in``, ``between``, ``like``/``ilike``, ``is null``, ``and``/``or``/``not``; columns by name.
- ``caption`` asks about any caption of a clip; ``action`` is another name for ``class_id``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db.errors import FilterError

Value = str | int | float | bool
COLUMNS: dict[str, str] = {
    "clip_id": "text", "source": "text", "split": "text", "subject": "text", "take": "text", "class_id": "text",
    "class_text": "text", "style": "text", "start_s": "number", "end_s": "number", "duration_s": "number", "fps": "number",
    "n_frames": "number", "mirrored": "truth", "skeleton": "text", "licence": "text", "origin": "text", "caption": "text",
}  # fmt: skip
ALIASES = {"action": "class_id", "license": "licence", "text": "caption", "id": "clip_id"}
MAX_LENGTH = 10_000
MAX_DEPTH = 64
_OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


@dataclass(frozen=True)
class Compare:
    """``column operator value``."""

    column: str
    operator: str
    value: Value


@dataclass(frozen=True)
class In:
    """``column in (values)``."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Like:
    """``column like pattern``, letter case ignored where ``ignore_case``."""

    column: str
    pattern: str
    ignore_case: bool = False


@dataclass(frozen=True)
class IsNull:
    """``column is null``; an empty text counts as null."""

    column: str


@dataclass(frozen=True)
class Not:
    """The opposite of ``term``."""

    term: Filter


@dataclass(frozen=True)
class And:
    """All of ``terms``."""

    terms: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """Any of ``terms``."""

    terms: tuple[Filter, ...]


Filter = Compare | In | Like | IsNull | Not | And | Or


def column(name: str, value: Value | None = None) -> str:
    """The true name of a column; FilterError with all names when there is none, or when ``value`` is of another type."""
    known = ALIASES.get(name.lower(), name.lower())
    if known not in COLUMNS:
        raise FilterError(f"no column {name!r}; there are {', '.join(sorted(COLUMNS))}")
    kind = COLUMNS[known]
    if value is not None:
        fits = {
            "text": isinstance(value, str),
            "number": isinstance(value, int | float) and not isinstance(value, bool),
            "truth": isinstance(value, bool),
        }[kind]
        if not fits:
            raise FilterError(
                f"column {known!r} is a {kind}, it cannot be compared with {value!r}; quote texts with '…'"
            )
    return known


def parse_filter(text: str) -> Filter:
    """The AST of an SQL condition such as ``duration_s < 4 and source = 'kit'``; FilterError says what is not allowed."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    if len(text) > MAX_LENGTH:
        raise FilterError(f"the filter has {len(text)} letters, at most {MAX_LENGTH} are read; shorten it")
    if not text.strip():
        raise FilterError('the filter is empty; leave it out or give a condition such as "duration_s < 4"')
    try:
        trees = sqlglot.parse(f"select 1 where (\n{text}\n)", read="duckdb")
    except (SqlglotError, RecursionError) as error:
        raise FilterError(
            f"cannot read the filter {_short(text)}; write a condition such as duration_s < 4 and source = 'kit'"
        ) from error
    from sqlglot import exp

    tree = trees[0] if len(trees) == 1 else None
    allowed = {"expressions", "where", "kind"}
    if not isinstance(tree, exp.Select) or any(tree.args.get(key) for key in tree.args if key not in allowed):
        raise FilterError(f"the filter {_short(text)} is more than a condition; write only what would follow WHERE")
    return _convert(tree.args["where"].this, 0)


def _convert(node: Any, depth: int) -> Filter:  # noqa: C901  one branch a kind of node is the clearest form
    from sqlglot import exp

    if depth > MAX_DEPTH:
        raise FilterError(f"the filter is nested more than {MAX_DEPTH} deep; simplify it")
    compare = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
    flipped = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
    if isinstance(node, exp.Paren):
        return _convert(node.this, depth + 1)
    if isinstance(node, exp.Not):
        return Not(_convert(node.this, depth + 1))
    if isinstance(node, exp.And | exp.Or):
        terms = tuple(_convert(term, depth + 1) for term in node.flatten(unnest=False))
        return And(terms) if isinstance(node, exp.And) else Or(terms)
    if type(node) in compare:
        operator, left, right = compare[type(node)], node.this, node.expression
        if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
            operator, left, right = flipped[operator], right, left
        value = _value(right)
        return Compare(column(_name(left), value), operator, value)
    if isinstance(node, exp.Between):
        low, high = _value(node.args["low"]), _value(node.args["high"])
        name = _name(node.this)
        return And((Compare(column(name, low), ">=", low), Compare(column(name, high), "<=", high)))
    if isinstance(node, exp.In) and node.expressions:
        values = tuple(_value(item) for item in node.expressions)
        for value in values:
            column(_name(node.this), value)
        return In(column(_name(node.this)), values)
    if isinstance(node, exp.Like | exp.ILike):
        pattern = _value(node.expression)
        if not isinstance(pattern, str):
            raise FilterError("like needs a text pattern, such as caption like '%left%'")
        return Like(column(_name(node.this), pattern), pattern, isinstance(node, exp.ILike))
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return IsNull(column(_name(node.this)))
    if isinstance(node, exp.Column) and COLUMNS.get(column(_name(node))) == "truth":
        return Compare(column(_name(node)), "=", True)
    raise FilterError(
        f"{_short(node.sql())} is not allowed in a filter; "
        "use columns with =, <>, <, >, in, between, like, is null, and, or, not"
    )


def _name(node: Any) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Column) and not node.table:
        return str(node.name)
    raise FilterError(f"{_short(node.sql())} is not a column; a comparison needs one, such as duration_s")


def _value(node: Any) -> Value:
    from sqlglot import exp

    if isinstance(node, exp.Literal):
        if node.is_string:
            return str(node.this)
        return float(node.this) if any(c in node.this for c in ".eE") else int(node.this)
    if isinstance(node, exp.Neg):
        value = _value(node.this)
        if isinstance(value, int | float):
            return -value
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    raise FilterError(f"{_short(node.sql())} is not a plain value; compare with a number or a text in '…'")


def to_sql(term: Filter) -> tuple[str, list[Value]]:
    """The condition for DuckDB over the tables ``t`` (rows) and ``c`` (captions), and its parameters."""
    if isinstance(term, And | Or):
        pieces = [to_sql(t) for t in term.terms]
        word = " and " if isinstance(term, And) else " or "
        return f"({word.join(sql for sql, _ in pieces)})", [value for _, own in pieces for value in own]
    if isinstance(term, Not):
        sql, own = to_sql(term.term)
        return f"(not coalesce({sql}, false))", own
    name = column(term.column)
    left = "c.text" if name == "caption" else f't."{name}"'
    values: Sequence[Value]
    if isinstance(term, Compare):
        if term.operator not in _OPERATORS:
            raise FilterError(f"no operator {term.operator!r}; there are {' '.join(_OPERATORS)}")
        column(name, term.value)
        sql, values = f"{left} {term.operator} ?", [term.value]
    elif isinstance(term, In):
        sql, values = f"{left} in ({', '.join('?' * len(term.values))})", term.values
    elif isinstance(term, Like):
        sql, values = f"{left} {'ilike' if term.ignore_case else 'like'} ?", [term.pattern]
    elif name == "caption":
        return "(not exists (select 1 from c where c.g = t.g))", []
    else:
        empty = f" or {left} = ''" if COLUMNS[name] == "text" else ""
        return f"({left} is null{empty})", []
    if name == "caption":
        sql = f"exists (select 1 from c where c.g = t.g and {sql})"
    return sql, list(values)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 80 else text[:77] + "...")

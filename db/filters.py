"""Filters: a small typed AST, a parser from SQL conditions, and its print-out for DuckDB.

- No SQL text crosses into the store: text is parsed by sqlglot into this AST by an allow list, values become parameters.
- Comparison, ``in``, ``between``, ``like``/``ilike``, ``is null``, ``and``/``or``/``not``; columns by name, texts also as
  ``lower(column)`` or ``upper(column)``.
- A node of the parser is understood with all its arguments or refused: one that is not known here, such as a negation kept as
  a flag, is never passed over.
- ``caption`` asks about any caption of a clip; ``action`` is another name for ``class_id``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from db.errors import FilterError

Value = str | int | float | bool
_TEXTS = (
    "clip_id", "source", "split", "subject", "take", "take_stamp", "class_id", "class_text", "style", "skeleton",
    "licence", "origin", "caption",
)  # fmt: skip
COLUMNS: dict[str, str] = {
    **dict.fromkeys(_TEXTS, "text"),
    **dict.fromkeys(("start_s", "end_s", "duration_s", "fps", "n_frames"), "number"),
    "mirrored": "truth",
}
ALIASES = {"action": "class_id", "license": "licence", "text": "caption", "id": "clip_id"}
MAX_LENGTH = 10_000
MAX_DEPTH = 64
MAX_DIGITS = 30
_OPERATORS = ("=", "<>", "<", "<=", ">", ">=")
Fold = Literal["", "lower", "upper"]


@dataclass(frozen=True)
class Compare:
    """``column operator value``; ``fold`` turns the column's text to lower or upper case first."""

    column: str
    operator: str
    value: Value
    fold: Fold = ""


@dataclass(frozen=True)
class In:
    """``column in (values)``."""

    column: str
    values: tuple[Value, ...]
    fold: Fold = ""


@dataclass(frozen=True)
class Like:
    """``column like pattern``, letter case ignored where ``ignore_case``."""

    column: str
    pattern: str
    ignore_case: bool = False
    fold: Fold = ""


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
    except (SqlglotError, RecursionError, ValueError) as error:
        raise FilterError(
            f"cannot read the filter {_short(text)}; write a condition such as duration_s < 4 and source = 'kit'"
        ) from error
    from sqlglot import exp

    tree = trees[0] if len(trees) == 1 else None
    allowed = {"expressions", "where", "kind"}
    if not isinstance(tree, exp.Select) or any(tree.args.get(key) for key in tree.args if key not in allowed):
        raise FilterError(f"the filter {_short(text)} is more than a condition; write only what would follow WHERE")
    return _convert(tree.args["where"].this, 0)


def _convert(node: Any, depth: int) -> Filter:
    from sqlglot import exp

    if depth > MAX_DEPTH:
        raise FilterError(f"the filter is nested more than {MAX_DEPTH} deep; simplify it")
    if isinstance(node, exp.Paren):
        return _convert(_only(node, "this").this, depth + 1)
    if isinstance(node, exp.Not):
        return Not(_convert(_only(node, "this").this, depth + 1))
    if isinstance(node, exp.And | exp.Or):
        terms = tuple(_convert(term, depth + 1) for term in node.flatten(unnest=False))
        return And(terms) if isinstance(node, exp.And) else Or(terms)
    if isinstance(node, exp.Like | exp.ILike):
        return _like(node)
    return _simple(node)


def _simple(node: Any) -> Filter:
    """A condition on one column."""
    from sqlglot import exp

    compare = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
    flipped = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
    if type(node) in compare:
        _only(node, "this", "expression")
        operator, left, right = compare[type(node)], node.this, node.expression
        if isinstance(left, exp.Literal | exp.Neg | exp.Boolean):
            operator, left, right = flipped[operator], right, left
        value = _value(right)
        name, fold = _column(left, value)
        return Compare(name, operator, value, fold)
    if isinstance(node, exp.Between):
        _only(node, "this", "low", "high")
        low, high = _value(node.args["low"]), _value(node.args["high"])
        (name, fold), _ = _column(node.this, low), _column(node.this, high)
        return And((Compare(name, ">=", low, fold), Compare(name, "<=", high, fold)))
    if isinstance(node, exp.In) and node.expressions:
        _only(node, "this", "expressions")
        values = tuple(_value(item) for item in node.expressions)
        (name, fold), *_ = [_column(node.this, value) for value in values]
        return In(name, values, fold)
    if isinstance(node, exp.Is):
        _only(node, "this", "expression")
        if isinstance(node.expression, exp.Null):
            return IsNull(_column(node.this)[0])
        if isinstance(node.expression, exp.Boolean):
            return Compare(_column(node.this, True)[0], "=", bool(node.expression.this))
    if isinstance(node, exp.Column) and COLUMNS[_column(node)[0]] == "truth":
        return Compare(_column(node)[0], "=", True)
    raise _refused(node)


def _like(node: Any) -> Filter:
    _only(node, "this", "expression", "negate")
    pattern = _value(node.expression)
    if not isinstance(pattern, str):
        raise FilterError("like needs a text pattern, such as caption like '%left%'")
    name, fold = _column(node.this, pattern)
    found = Like(name, pattern, node.key == "ilike", fold)
    return Not(found) if node.args.get("negate") else found


def _only(node: Any, *known: str) -> Any:
    """``node``, refused when it has arguments beyond ``known``: what is not understood may change the meaning."""
    if any(value not in (None, False, [], "") for key, value in node.args.items() if key not in known):
        raise _refused(node)
    return node


def _column(node: Any, value: Value | None = None) -> tuple[str, Fold]:
    """The true name of the column in ``node`` and how its letters are folded; ``value`` must be of its type."""
    from sqlglot import exp

    fold: Fold = ""
    if isinstance(node, exp.Lower | exp.Upper):
        fold, node = ("lower" if isinstance(node, exp.Lower) else "upper"), _only(node, "this").this
    if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
        raise FilterError(f"{_shown(node)} is not a column; a comparison needs one, such as duration_s")
    name = column(str(_only(node, "this").name), value)
    if fold and COLUMNS[name] != "text":
        raise FilterError(f"{fold}({name}) needs a text, {name!r} is a {COLUMNS[name]}; leave {fold} out")
    return name, fold


def _value(node: Any) -> Value:
    from sqlglot import exp

    if isinstance(node, exp.Literal):
        return str(node.this) if node.is_string else _number(str(node.this))
    if isinstance(node, exp.Neg):
        value = _value(_only(node, "this").this)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    raise FilterError(f"{_shown(node)} is not a plain value; compare with a number or a text in '…'")


def _number(text: str) -> int | float:
    try:
        if len(text) > MAX_DIGITS:
            raise ValueError
        number = float(text) if any(c in text for c in ".eE") else int(text)
        if not abs(number) < 1e18:
            raise ValueError
    except ValueError:
        raise FilterError(f"{_short(text)} is not a number that can be compared; give one below 1e18") from None
    return number


def _refused(node: Any) -> FilterError:
    return FilterError(
        f"{_shown(node)} is not allowed in a filter; "
        "use columns with =, <>, <, >, in, between, like, is null, and, or, not"
    )


def _shown(node: Any) -> str:
    """The SQL of a node, short; its kind where it cannot be written."""
    from sqlglot.errors import SqlglotError

    try:
        return _short(node.sql("duckdb"))
    except (SqlglotError, RecursionError, ValueError):
        return str(node.key)


def to_sql(term: Filter, depth: int = 0) -> tuple[str, list[Value]]:
    """The condition for DuckDB over the tables ``t`` (rows) and ``c`` (captions), and its parameters."""
    if depth > MAX_DEPTH:
        raise FilterError(f"the filter is nested more than {MAX_DEPTH} deep; simplify it")
    if isinstance(term, And | Or):
        pieces = [to_sql(t, depth + 1) for t in term.terms] or [("true" if isinstance(term, And) else "false", [])]
        word = " and " if isinstance(term, And) else " or "
        return f"({word.join(sql for sql, _ in pieces)})", [value for _, own in pieces for value in own]
    if isinstance(term, Not):
        sql, own = to_sql(term.term, depth + 1)
        return f"(not coalesce({sql}, false))", own
    if isinstance(term, IsNull):
        return _null_to_sql(column(term.column)), []
    if not isinstance(term, Compare | In | Like):
        raise FilterError(f"{_short(repr(term))} is not a filter; use Compare, In, Like, IsNull, Not, And, Or")
    return _condition_to_sql(term)


def _null_to_sql(name: str) -> str:
    if name == "caption":
        return "(not exists (select 1 from c where c.g = t.g))"
    empty = f" or t.\"{name}\" = ''" if COLUMNS[name] == "text" else ""
    return f'(t."{name}" is null{empty})'


def _condition_to_sql(term: Compare | In | Like) -> tuple[str, list[Value]]:
    values: list[Value] = list(term.values) if isinstance(term, In) else []
    if isinstance(term, Compare):
        if term.operator not in _OPERATORS:
            raise FilterError(f"no operator {term.operator!r}; there are {' '.join(_OPERATORS)}")
        values, rest = [term.value], f"{term.operator} ?"
    elif isinstance(term, Like):
        values, rest = [term.pattern], "ilike ?" if term.ignore_case else "like ?"
    elif not values:
        return "false", []
    else:
        rest = f"in ({', '.join('?' * len(values))})"
    names = [column(term.column, value) for value in values]  # every value is held against the column's type
    name = names[0]
    left = "c.text" if name == "caption" else f't."{name}"'
    if term.fold:
        if term.fold not in ("lower", "upper") or COLUMNS[name] != "text":
            raise FilterError(f"no {term.fold!r} of {name!r}; fold texts by lower or upper")
        left = f"{term.fold}({left})"
    sql = f"{left} {rest}"
    return (f"exists (select 1 from c where c.g = t.g and {sql})" if name == "caption" else sql), values


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 80 else text[:77] + "...")

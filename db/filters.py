"""Filters: a small typed AST, and a parser from SQL conditions.

- No SQL text crosses into the store: text is parsed by sqlglot into this AST by an allow list; db.matching carries it
  out.
- Comparison, ``in``, ``between``, ``like``/``ilike``, ``is null``, ``and``/``or``/``not``; columns by name, texts
  also as ``lower(column)`` or ``upper(column)``; ``says('left hand')``: a caption has all these words, whatever their
  endings.
- A node of the parser is understood with all its arguments or refused: one that is not known here, such as a negation
  kept as a flag, is never passed over.
- ``caption`` asks about any caption of a clip; ``action`` is another name for ``class_id``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal

from db.errors import FilterError
from db.schema import STATISTICS

Value = str | int | float | bool
_TEXTS = (
    "clip_id", "source", "split", "subject", "take", "take_stamp", "class_id", "class_text", "style", "skeleton",
    "licence", "origin", "caption",
)  # fmt: skip
COLUMNS: dict[str, str] = {
    **dict.fromkeys(_TEXTS, "text"),
    **dict.fromkeys(("start_s", "end_s", "duration_s", "fps", "n_frames", *STATISTICS), "number"),
    "mirrored": "truth",
}
ALIASES = {
    "action": "class_id", "license": "licence", "text": "caption", "id": "clip_id", "dataset": "source", "frames": "n_frames",
    "duration": "duration_s", "length_s": "duration_s", "person": "subject", "speed": "speed_m_s", "path": "path_m",
    "height": "height_m", "rise": "rise_m", "turn": "turn_deg", "contacts": "contact_share",
}  # fmt: skip
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


@dataclass(frozen=True)
class Says:
    """Any caption has all of ``words``, without regard to case, order and English endings."""

    words: str


Filter = Compare | In | Like | IsNull | Says | Not | And | Or


def column(name: str, value: Value | None = None) -> str:
    """The true name of a column; FilterError with all names when there is none, or when ``value`` is of another
    type.
    """
    known = ALIASES.get(name.lower(), name.lower())
    if known not in COLUMNS:
        near = difflib.get_close_matches(known, [*COLUMNS, *ALIASES], 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise FilterError(f"no column {_short(name)}; {meant}there are {', '.join(sorted(COLUMNS))}")
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
    """The AST of an SQL condition such as ``duration_s < 4 and source = 'kit'``; FilterError says what is not
    allowed.
    """
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
    if isinstance(node, exp.Anonymous) and str(node.this).lower() == "says":
        _only(node, "this", "expressions")
        words = [_value(item) for item in node.expressions]
        if len(words) != 1 or not isinstance(words[0], str):
            raise FilterError(f"{_shown(node)}: says takes one text of words, such as says('left hand')")
        return Says(words[0])
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
        "use columns with =, <>, <, >, in, between, like, is null, and, or, not, says('words')"
    )


def _shown(node: Any) -> str:
    """The SQL of a node, short; its kind where it cannot be written."""
    from sqlglot.errors import SqlglotError

    try:
        return _short(node.sql("duckdb"))
    except (SqlglotError, RecursionError, ValueError):
        return str(node.key)


def check_term(term: Filter, depth: int = 0) -> None:
    """FilterError when a term that was built by hand is none: unknown columns and operators, values of a wrong type."""
    if depth > MAX_DEPTH:
        raise FilterError(f"the filter is nested more than {MAX_DEPTH} deep; simplify it")
    if isinstance(term, And | Or):
        for inner in term.terms:
            check_term(inner, depth + 1)
    elif isinstance(term, Not):
        check_term(term.term, depth + 1)
    elif isinstance(term, IsNull):
        column(term.column)
    elif isinstance(term, Says):
        if not isinstance(term.words, str) or not any(c.isalnum() for c in term.words):
            raise FilterError(f"says needs words to look for, not {_short(repr(term.words))}; write says('left hand')")
    elif isinstance(term, Compare | In | Like):
        _check_condition(term)
    else:
        raise FilterError(f"{_short(repr(term))} is not a filter; use Compare, In, Like, Says, IsNull, Not, And, Or")


def _check_condition(term: Compare | In | Like) -> None:
    """Operator, values and folding of a condition on one column."""
    if isinstance(term, Compare) and term.operator not in _OPERATORS:
        raise FilterError(f"no operator {term.operator!r}; there are {' '.join(_OPERATORS)}")
    if isinstance(term, In) and not isinstance(term.values, tuple):
        raise FilterError(f"the values of In({term.column!r}) are {_short(repr(term.values))}; give a tuple")
    values = term.values if isinstance(term, In) else [term.pattern if isinstance(term, Like) else term.value]
    names = [column(term.column, value) for value in values] or [column(term.column)]
    if COLUMNS[names[0]] != "text" and (term.fold or isinstance(term, Like)):
        raise FilterError(f"{term.column!r} is a {COLUMNS[names[0]]}; like, lower and upper are for texts")
    if term.fold not in ("", "lower", "upper"):
        raise FilterError(f"no {term.fold!r} of {term.column!r}; fold texts by lower or upper")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 80 else text[:77] + "...")

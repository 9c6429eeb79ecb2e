"""A filter means what it says: against plain Python over every kind of condition, and hostile texts are one clear error."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import And, Compare, Filter, FilterError, In, IsNull, Library, Like, Not, Or, Says, Snapshot, parse_filter
from db.texts import words_of
from tests.db.world import ENCODER, SPACES, batch, captions, names, rows

COUNT = 24
TABLE = rows(names(*range(COUNT))).to_pylist()
SAID: dict[str, list[str]] = {name: [] for name in names(*range(COUNT))}
for caption in captions(names(*range(COUNT))).to_pylist():
    SAID[caption["clip_id"]].append(caption["text"])


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    library = Library.create(tmp_path_factory.mktemp("filters") / "lib", spaces=SPACES, encoder=ENCODER)
    for numbers in (range(10), range(10, COUNT)):
        with library.begin() as change:
            change.upsert(*batch(names(*numbers)))
            change.commit()
    return library.snapshot()


# ---- what a filter means, in plain Python --------------------------------------------------------------------------

COMPARE: dict[str, Any] = {
    "=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip
FOLD: dict[str, Any] = {"": lambda value: value, "lower": str.lower, "upper": str.upper}


def holds(term: Filter, row: dict[str, Any]) -> bool:
    """Whether ``row`` passes."""
    if isinstance(term, And | Or):
        return (all if isinstance(term, And) else any)(holds(t, row) for t in term.terms)
    if isinstance(term, Not):
        return not holds(term.term, row)
    if isinstance(term, Says):
        return any(set(words_of(term.words)) <= set(words_of(text)) for text in SAID[row["clip_id"]])
    values = SAID[row["clip_id"]] if term.column == "caption" else [row[term.column]]
    if isinstance(term, IsNull):
        return all(value in (None, "") for value in values)
    values = [FOLD[term.fold](value) for value in values if value is not None]
    if isinstance(term, Compare):
        return any(COMPARE[term.operator](value, term.value) for value in values)
    if isinstance(term, In):
        return any(value in term.values for value in values)
    pattern = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in term.pattern)
    return any(re.fullmatch(pattern, value, re.IGNORECASE if term.ignore_case else 0) for value in values)


def said(term: Filter, draw: Any) -> str:
    """The filter as a person may write it."""
    if isinstance(term, And | Or):
        word = f" {draw(st.sampled_from(['and', 'AND'] if isinstance(term, And) else ['or', 'OR']))} "
        return "(" + word.join(said(t, draw) for t in term.terms) + ")"
    if isinstance(term, Not) and isinstance(term.term, Like | In | IsNull) and draw(st.booleans()):
        return re.sub(r" (like|ilike|in|is) ", lambda m: " is not " if m[1] == "is" else f" not {m[1]} ",
                      said(term.term, draw), count=1)  # fmt: skip
    if isinstance(term, Not):
        return f"not ({said(term.term, draw)})"
    if isinstance(term, Says):
        return f"says({quoted(term.words)})"
    if isinstance(term, IsNull):
        return f"{term.column} is null"
    left = f"{term.fold}({term.column})" if term.fold else term.column
    if isinstance(term, In):
        return f"{left} in ({', '.join(map(quoted, term.values))})"
    if isinstance(term, Like):
        return f"{left} {'ilike' if term.ignore_case else 'like'} {quoted(term.pattern)}"
    if draw(st.booleans()):
        flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(term.operator, term.operator)
        return f"{quoted(term.value)} {flipped} {left}"
    return f"{left} {'!=' if term.operator == '<>' else term.operator} {quoted(term.value)}"


def quoted(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()


TEXTS = st.sampled_from(["source", "class_id", "clip_id", "style", "caption"])
WORDS = st.sampled_from(["kit", "CMU", "cmu", "class1", "CLASS2", "clip-7", "", "it's", "a person does thing 3 way 0"])
PATTERNS = st.sampled_from(["%i%", "K_t", "class_", "%WAY 1", "%thing 1_ %", "%", "", "_%", "clip-%"])
FOLDS = st.sampled_from(["", "", "lower", "upper"])
OPERATORS = st.sampled_from(list(COMPARE))
NUMBERS = st.one_of(st.integers(-3, 250), st.sampled_from([0.5, 2.25, -1.5, 11.0]))
SIMPLE = st.one_of(
    st.builds(Compare, TEXTS, OPERATORS, WORDS, FOLDS),
    st.builds(Compare, st.sampled_from(["duration_s", "n_frames", "fps", "speed_m_s"]), OPERATORS, NUMBERS),
    st.builds(Compare, st.just("mirrored"), st.sampled_from(["=", "<>"]), st.booleans()),
    st.builds(In, TEXTS, st.lists(WORDS, min_size=1, max_size=3).map(tuple), FOLDS),
    st.builds(In, st.just("n_frames"), st.lists(NUMBERS, min_size=1, max_size=3).map(tuple)),
    st.builds(Like, TEXTS, PATTERNS, st.booleans(), FOLDS),
    st.builds(IsNull, st.sampled_from(["style", "source", "duration_s", "caption", "speed_m_s"])),
    st.builds(Says, st.sampled_from(["thing", "WAYS 1", "does 3", "doing a thing 11", "nobody", "person, 0!"])),
)
FILTERS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)


@given(term=FILTERS, data=st.data())
@settings(max_examples=250, deadline=None)
def test_a_filter_keeps_what_plain_python_keeps_built_or_written(snapshot: Snapshot, term: Filter, data: Any) -> None:
    expected = [row["clip_id"] for row in TABLE if holds(term, row)]
    assert snapshot.ids(term) == expected
    assert snapshot.ids(said(term, data.draw)) == expected


# ---- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("source not like 'k%'", "not (source like 'k%')"),
        ("caption not ilike '%WAY 1'", "not (caption ilike '%WAY 1')"),
        ("source not in ('kit', 'x')", "source <> 'kit' and source <> 'x'"),
        ("duration_s not between 2 and 5", "duration_s < 2 or duration_s > 5"),
        ("style is not null", "not (style is null)"),
        ("mirrored is true", "mirrored"),
        ("mirrored is not true", "not mirrored"),
        ("mirrored is false", "mirrored = false"),
        ("lower(source) = 'kit'", "source = 'kit'"),
        ("upper(source) like 'KI%'", "source = 'kit'"),
        ("text like '%thing 7 %'", "caption like '%thing 7 %'"),
        ("action = 'class1'", "class_id = 'class1'"),
        ("SOURCE = 'kit' -- a remark\n", "source = 'kit'"),
        ("duration_s < 4.5e0", "duration_s < 4.5"),
        ("n_frames > -5", "n_frames >= 0"),
        ("\"source\" = 'kit'", "source == 'kit'"),
        (
            "not source = 'kit' and mirrored or duration_s < 1",
            "((not (source = 'kit')) and mirrored) or duration_s < 1",
        ),
    ],
)
def test_ways_of_saying_the_same(snapshot: Snapshot, text: str, same_as: str) -> None:
    assert snapshot.ids(text) == snapshot.ids(same_as)
    assert snapshot.ids(f"not ({text})") == [name for name in snapshot.ids() if name not in set(snapshot.ids(text))]


REFUSED = [
    "duration_s between symmetric 4 and 2", "source like 'a!%' escape '!'", "source similar to 'a'", "source ~ 'a'",
    "source glob 'a'", "source like any ('a', 'b')", "source collate nocase = 'a'", "t.source = 'a'", "source = t.source",
    "source in (select 1)", "source in ('a', null)", "source in ()", "source = null", "source = $1", "source = ?",
    "source = :x",
    "source = @x", "duration_s = cast(4 as int)", "duration_s = 4::int", "duration_s + 1 = 2", "duration_s % 2 = 0",
    "duration_s = now()", "length(source) = 3", "lower(upper(source)) = 'a'", "lower(duration_s) = 'a'",
    "lower(source, 1) = 'a'",
    "case when true then true end", "source is distinct from 'a'", "not source", "source", "true", "1 = 1",
    "4 < duration_s < 6",
    "duration_s = date '2020-01-01'", "duration_s = 1 union all select 1", "duration_s = 1 limit 1",
    "exists (select * from read_csv('/etc/passwd'))", "source = (select getenv('HOME'))", "source in (from 'x.parquet')",
    "duration_s < 1; attach 'x.db'", "duration_s < 1) or (select true", "duration_s < 1 /* ", "duration_s = 0x1F",
    "duration_s < 1e999", "duration_s < " + "9" * 400, "duration_s < " + "9" * 5000, "duration_s < " + "-" * 3000 + "1",
    "not " * 3000 + "mirrored", "(" * 4000 + "mirrored" + ")" * 4000, "source = 'x' or " * 3000 + "mirrored",
    "caption like '" + "x" * 10_000 + "'", "source = 'a' 'b'", "row(source) = 'a'", "[source] = 'a'", "source[1] = 'a'",
    "* = 1",
    "columns(*) = 1", "source = e'\\n'", "source = x'ff'", "\ud800 = 1", "\x00", "😀", "mirrored and", "'", '"', "--", "/*",
    ";",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:24]))
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


PIECES = (
    "duration_s source mirrored caption like ilike in between and or not is null < > = <> ( ) , 'kit' '%a' 4 4.5 -3 "
    "true select "
    "union from ; -- /* */ $1 ? :x [ ] case when then end cast as int :: interval date x'ff' 0x1F e'\\n' any all exists now() "
    'lower upper escape symmetric distinct collate * + / % ^ ~ | & ! @ # \\ " ` \x00 é 😀 limit order by group having with'
).split(" ")


@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=9).map(" ".join), st.text(max_size=40)))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_filter_or_a_filter_error(snapshot: Snapshot, text: str) -> None:
    try:
        term = parse_filter(text)
    except FilterError as error:
        assert "\n" not in str(error)
        return
    assert snapshot.ids(term) == [row["clip_id"] for row in TABLE if holds(term, row)]


@pytest.mark.parametrize(
    ("term", "kept"),
    [(And(()), COUNT), (Or(()), 0), (In("source", ()), 0), (Not(In("source", ())), COUNT)],
)
def test_empty_terms_have_their_meaning(snapshot: Snapshot, term: Filter, kept: int) -> None:
    assert snapshot.count(term) == kept


@pytest.mark.parametrize(
    "term",
    [
        Compare("source", "=", 4), Compare("source; drop table t", "=", "x"), Compare("duration_s", "= 1 or 1 =", 1),
        Compare("mirrored", "=", "yes"), In("n_frames", (1, "2")), Like("duration_s", "4%"), Like("source", 4),  # type: ignore[arg-type]
        Compare("source", "=", "a", "reverse"), Compare("duration_s", "<", 4, "lower"), "source = 'kit' union select 1",  # type: ignore[arg-type]
        Not("source = 'kit'"), Not(4), IsNull("nothing"),  # type: ignore[arg-type]
    ],
    ids=repr,
)  # fmt: skip
def test_terms_built_wrongly_are_refused_too(snapshot: Snapshot, term: Any) -> None:
    with pytest.raises(FilterError):
        snapshot.count(term)


def test_depth_is_bounded_however_a_filter_is_built(snapshot: Snapshot) -> None:
    term: Filter = Compare("mirrored", "=", True)
    for _ in range(5000):
        term = Not(term)
    with pytest.raises(FilterError, match="deep"):
        snapshot.count(term)

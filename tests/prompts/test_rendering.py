"""What templates give, and what they may not do."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.prompts.budget import Budget
from loopwright.prompts.definition import definition
from loopwright.prompts.fault import Fault

VALUES: Mapping[str, Any] = {
    "name": "Ada Löwe",
    "count": 3,
    "share": 0.5,
    "yes": True,
    "docs": [{"title": "b", "text": "two\nlines"}, {"title": "A", "text": "one"}],
    "words": ["pear", "fig", "apple"],
    "facts": {"x": 1, "y": {"z": "deep"}},
}
DECLARED: Mapping[str, Any] = {
    "name": "string",
    "count": "integer",
    "share": "number",
    "yes": "boolean",
    "docs": "array",
    "words": "array",
    "facts": "object",
}


def render(text: str, partials: Mapping[str, str] | None = None, **values: Any) -> str:
    given = {**VALUES, **values}
    kinds = {**DECLARED, **dict.fromkeys(values, "any")}
    document = {"variables": kinds, "messages": [{"role": "user", "content": text}], "partials": dict(partials or {})}
    return str(definition(document).render(given)[0]["content"])


def fault(text: str, partials: Mapping[str, str] | None = None, **values: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        render(text, partials, **values)
    return caught.value


def given_or_said(text: str, **values: Any) -> str:
    """The text, or what is wrong; nothing else is ever raised."""
    try:
        return render(text, **values)
    except Fault as error:
        return error.message


LIKE_JINJA = (
    "Hello {{ name }}, {{ count }} {{ share }} {{ yes }}",
    "{% for doc in docs %}{{ loop.index }}/{{ loop.length }} {{ doc.title }}: {{ doc['text'] }}\n{% endfor %}",
    "{% for doc in docs if doc.title != 'b' %}{{ doc.title }}{% else %}none{% endfor %}",
    "{% for doc in [] %}x{% else %}none{% endfor %}",
    "{% for key, value in facts.items() %}{{ key }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% if count > 2 and not yes %}a{% elif count == 3 %}b{% else %}c{% endif %}",
    "{{ 'a' if yes else 'b' }}{{ 'x' if not yes }}",
    "{% set total = count * 2 + 1 %}{{ total }} {{ total // 2 }} {{ total % 4 }} {{ 2 ** 5 }} {{ -count }} {{ 7 / 2 }}",
    "{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{% macro item(title, mark='-') %}{{ mark }} {{ title }}{% endmacro %}{{ item('x') }}{{ item('y', mark='*') }}",
    "{% with a = 1, b = count %}{{ a + b }}{% endwith %}",
    "{% filter upper %}abc {{ name }}{% endfilter %}",
    "{% set block %}in {{ name }}{% endset %}[{{ block }}]",
    "{% raw %}{{ not this }}{% endraw %}{# nor this #}.",
    "{{ words | join(', ') }} {{ words | sort | join }} {{ words | first }} {{ words | last }} {{ words | length }}",
    "{{ docs | map(attribute='title') | join('+') }} {{ docs | map(attribute='title') | sort | join }}",
    "{{ docs | selectattr('title', 'eq', 'A') | map(attribute='text') | join }}",
    "{{ words | reject('eq', 'fig') | map('upper') | join(' ') }}",
    "{{ name | upper }} {{ name | lower }} {{ 'ab cd' | title }} {{ ' x ' | trim }} {{ 'abc' | replace('b', 'B') }}",
    "{{ facts.nope | default('?') }} {{ facts.nope is defined }}",
    "{{ 'one\ntwo' | indent(2) }} {{ 'a long text here' | truncate(10) }} {{ 'a b c' | wordcount }}",
    "{{ 3.7 | int }} {{ '12' | int + 1 }} {{ 'x' | int(5) }} {{ 2.567 | round(1) }} {{ [1, 2] | sum }} {{ 'b' in 'abc' }}",
    "{{ words[0] }} {{ words[-1] }} {{ words[1:] | join }} {{ name[:3] }} {{ (1, 2)[0] }} {{ {'a': 5}['a'] }}",
    "{{ words | unique | list | length }} {{ words | reverse | join }} {{ 'abc' | reverse }} {{ [3, 1] | max }} {{ [3, 1] | min }}",
    "{% for w in words %}{{ loop.cycle('o', 'e') }}{{ loop.first }}{{ loop.revindex }}{% endfor %}",
    "{{ 1 < 2 < 3 }} {{ 1 in [1] }} {{ 4 not in [1] }} {{ 'a' ~ 1 ~ 'b' }} {{ count is odd }} {{ name is string }}",
    "  {% if yes %}\n  kept\n  {% endif %}\nend\n",
    "{{ name.upper() }} {{ ' a '.strip() }} {{ 'a,b'.split(',') | join('|') }} {{ facts.get('x') }} {{ 'ab'.startswith('a') }}",
    "{{ None }} {{ facts.y.z }} {{ '<&>' | e }} {{ facts | dictsort | map('first') | join }}",
)


@pytest.mark.parametrize("text", LIKE_JINJA, ids=[str(at) for at in range(len(LIKE_JINJA))])
def test_it_gives_what_jinja_gives(text: str) -> None:
    jinja = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    assert render(text) == jinja.from_string(text).render(**VALUES)


def test_lists_and_objects_print_as_json() -> None:
    assert render("{{ facts }} {{ words }}") == '{"x": 1, "y": {"z": "deep"}} ["pear", "fig", "apple"]'
    assert render("{{ 'ü' | tojson }} {{ facts | tojson(indent=1) }}").startswith('"ü" {\n')


@pytest.mark.parametrize(
    "text",
    [
        "{{ name.__class__ }}",
        "{{ name['__class__'] }}",
        "{{ name|attr('__class__') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ range.__globals__ }}",
        "{{ loop.__init__ }}",
        "{{ facts.items.__func__ }}",
        "{{ name.format(1) }}",
        "{{ '%s' % name }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ cycler('a').__init__ }}",
        "{{ lipsum() }}",
        "{{ self }}",
        "{{ config }}",
        "{% import 'os' as os %}",
        "{% from 'os' import path %}",
        "{% extends 'base' %}",
        "{% block x %}{% endblock %}",
        "{% include '/etc/passwd' %}",
        "{% include name %}",
        "{% include ['a', 'b'] ignore missing %}",
        "{{ open('/etc/passwd').read() }}",
        "{% call name() %}{% endcall %}",
        "{% for x in words recursive %}{{ loop(x) }}{% endfor %}",
        "{{ joiner(',')() }}",
        "{{ dict(**facts) }}",
        "{% autoescape true %}{% endautoescape %}",
    ],
)
def test_nothing_but_values_can_be_reached(text: str) -> None:
    assert fault(text).place == "messages[0].content"


BOMBS = (
    "{{ 'a' * 10**9 }}",
    "{{ 'a' * 10 ** 9 ** 9 }}",
    "{{ [0] * 10**8 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 10 ** 100 }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for i in range(9999) %}{{ 'x' * 10000 }}{% endfor %}",
    "{% set x = 'ab' %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}",
    "{% set x = 'ab' %}" + "{% set x = x + x %}" * 60 + "{{ x }}",
    "{% set x = 'ab' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60 + "{{ x }}",
    "{% set x = 'ab' %}" + "{% set x = [x, x] | join %}" * 60 + "{{ x }}",
    "{% set x = 'ab' %}" + "{% set x = x | replace('', x) %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = {'a': x, 'b': x} %}" * 60 + "{{ x == x }}",
    "{% set x = [1] %}" + "{% set x = x + x %}" * 60,
    "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "{% macro m(n) %}{% if n %}{% for i in range(99) %}{{ m(n - 1) }}{% endfor %}{% endif %}{% endmacro %}{{ m(9) }}",
    "{{ 'x' | indent(10**9, true) }}",
    "{{ 'x' | truncate(10**9) }}",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "{{ " + "-" * 3000 + "1 }}",
    "{{ " + "not " * 3000 + "1 }}",
    "{{ 1" + " + 1" * 3000 + " }}",
    "{% if 1 %}" * 300 + "{% endif %}" * 300,
    "{{ " + "9" * 5000 + " }}",
    "{{ 1" + "0" * 200 + " }}",
    "{{ words" + " | list" * 3000 + " }}",
    "{{ 1.0e308 * 10 ** 70 | float ** 9 }}",
    "x" * 200_001,
)


@pytest.mark.parametrize("bomb", BOMBS, ids=[str(at) for at in range(len(BOMBS))])
def test_bombs_are_refused_soon(bomb: str) -> None:
    started = time.process_time()
    fault(bomb)
    assert time.process_time() - started < 20  # a bound against running for ever, no measurement


def test_the_budget_bounds_what_a_caller_sends_too() -> None:
    many = [{"title": "t", "text": "x"}] * 200_000
    assert "more work" in fault("{% for doc in docs %}{{ doc.title }}{% endfor %}", docs=many).message
    assert "characters" in fault("{{ name }}" * 3, name="x" * 400_000).message
    # What is no attack goes through: a prompt as long as may be, a thousand documents.
    assert len(render("{{ name }}", name="x" * 1_000_000)) == 1_000_000
    titled = "{% for doc in docs %}{% if doc.title %}## {{ doc.title }}\n{{ doc.text }}{% endif %}{% endfor %}"
    assert render(titled, docs=many[:1_000]).count("##") == 1_000


def test_partials_see_what_is_around_them_and_cannot_include_themselves() -> None:
    assert render("{% for w in words %}{% include 'item' %};{% endfor %}", {"item": "{{ w }} of {{ name }}"}) == (
        "pear of Ada Löwe;fig of Ada Löwe;apple of Ada Löwe;"
    )
    assert "includes itself" in fault("{% include 'a' %}", {"a": "{% include 'b' %}", "b": "{% include 'a' %}"}).message
    assert "did you mean 'tone'" in fault("{% include 'tune' %}", {"tone": "x"}).message


@pytest.mark.parametrize(
    ("text", "line", "variable", "said"),
    [
        ("one\ntwo {{ nam }}", 2, "nam", "not declared; did you mean 'name'?"),
        ("{% for doc in docs %}\n{{ doc.titel }}\n{% endfor %}", 2, "doc.titel", "did you mean 'title'?"),
        ("a\nb\n{{ facts.y.q }}", 3, "facts.y.q", "not there"),
        ("a\n{{ count | upper }}", 2, "count", "needs a text, not a number"),
        ("a\n{{ words | jion }}", 2, None, "did you mean 'join'?"),
        ("a\n{% if count is od %}{% endif %}", 2, None, "did you mean 'odd'?"),
        ("a\n{{ count + name }}", 2, None, "'+' does not go with a number and a text"),
        ("a\n{{ 1 // 0 }}", 2, None, "zero"),
        ("a\n{% for x in count %}{% endfor %}", 2, None, "nothing to go through"),
        ("a\n{% if x", 2, None, ""),
        ("a\n{{ [1, 'a'] | sort }}", 2, None, "filter 'sort' cannot take this"),
        ("a\n{{ words | join(1, 2, 3, 4) }}", 2, "words", "wrong arguments"),
    ],
)
def test_a_fault_names_line_and_variable(text: str, line: int, variable: str | None, said: str) -> None:
    found = fault(text)
    assert (found.place, found.line, found.variable) == ("messages[0].content", line, variable)
    assert said in found.message


def test_a_fault_in_a_partial_names_the_partial() -> None:
    found = fault("x\n{% include 'part' %}", {"part": "\n\n{{ facts.nope }}"})
    assert (found.place, found.line, found.variable) == ("partials.part", 3, "facts.nope")


NAMES = st.sampled_from(["name", "count", "docs", "words", "facts", "x", "loop"])
ATOMS = st.one_of(
    NAMES,
    st.sampled_from(["1", "0", "2.5", "'a'", "''", "true", "none", "[]", "{}", "[1, 'b']", "range(5)", "range(9999)"]),
)
FILTER_NAMES = st.sampled_from(
    [
        "upper",
        "join",
        "length",
        "first",
        "last",
        "sort",
        "list",
        "tojson",
        "sum",
        "int",
        "default(1)",
        "replace('a','bb')",
        "indent(3)",
        "map('upper')",
        "items",
        "unique",
        "reverse",
        "select",
        "batch",
        "truncate(3)",
        "join(',')",
        "round",
        "abs",
        "max",
        "dictsort",
        "string",
        "e",
        "title",
        "trim",
        "wordcount",
    ]
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from("+ - * / // % ** ~ == < in and or".split()), inner).map(  # noqa: SIM905
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        st.tuples(inner, FILTER_NAMES).map(lambda parts: f"({parts[0]} | {parts[1]})"),
        st.tuples(inner, st.sampled_from(["title", "items()", "upper()", "__class__", "x"])).map(".".join),
        st.tuples(inner, inner).map(lambda parts: f"{parts[0]}[{parts[1]}]"),
        inner.map(lambda one: f"[{one}, {one}]"),
        inner.map(lambda one: f"(1 if {one} else {one})"),
    )


EXPRESSIONS = st.recursive(ATOMS, _grow, max_leaves=12)


def _around(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(EXPRESSIONS, inner).map(lambda parts: f"{{% for x in {parts[0]} %}}{parts[1]}{{% endfor %}}"),
        st.tuples(EXPRESSIONS, inner).map(lambda parts: f"{{% if {parts[0]} %}}{parts[1]}{{% else %}}n{{% endif %}}"),
        st.tuples(EXPRESSIONS, inner).map(lambda parts: f"{{% set x = {parts[0]} %}}{parts[1]}"),
        st.tuples(inner, inner).map("".join),
    )


TEMPLATES = st.recursive(EXPRESSIONS.map(lambda one: f"{{{{ {one} }}}}"), _around, max_leaves=8)


@settings(max_examples=400, deadline=None)
@given(TEMPLATES)
def test_any_template_gives_a_text_or_a_fault(text: str) -> None:
    assert len(given_or_said(text, x=[1, "two", {"three": [4]}])) <= 1_000_000


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="{}%#-+*/|~.()[]'\" \nabrangeforinif09", max_size=60))
def test_any_text_is_a_template_or_a_fault(text: str) -> None:
    given_or_said(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_values_are_never_read_as_templates(value: str) -> None:
    if value.strip():
        assert render("{{ v }}", v=value) == value


def test_work_is_bounded_by_the_budget_whatever_is_asked() -> None:
    budget = Budget(work=10)
    with pytest.raises(Fault):
        budget.weigh([[[random.Random(1).random()]] * 5] * 5)

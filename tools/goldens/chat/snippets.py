"""Small templates, one construct each: rendered where Jinja2 renders them, errors where it raises."""

FILTERS = r"""
{{ 'aBc dE'|capitalize }}|{{ 'hello wORLD-foo (bar'|title }}|{{ 'é'|upper }}|{{ 'straße'|upper }}|{{ 'ÀB'|lower }}
{{ ' x '|trim }}|{{ 'xxaxx'|trim('x') }}|{{ '\t\n a \x1f'|trim }}|{{ 3|trim }}
{{ [3, 1, 2]|sort }}|{{ ['b', 'A', 'c']|sort }}|{{ ['b', 'A']|sort(case_sensitive=true) }}|{{ [1, 2]|sort(reverse=true) }}
{{ [{'a': 2}, {'a': 1}]|sort(attribute='a') }}|{{ {'b': 1, 'A': 2}|dictsort }}|{{ {'b': 1, 'a': 2}|dictsort(by='value') }}|{{ {'b': 1, 'a': 2}|dictsort(reverse=true) }}
{{ [1, 2, 3]|sum }}|{{ [{'n': 1}, {'n': 2}]|sum('n', 10) }}|{{ [1, 2]|max }}|{{ ['b', 'A']|min }}|{{ []|max }}|{{ 'abc'|first }}{{ 'abc'|last }}
{{ [1, 1.0, 2, 'a', 'A']|unique|list }}|{{ 'abc'|list }}|{{ {'a': 1}|list }}|{{ 'abc'|reverse }}|{{ [1, 2]|reverse|list }}|{{ range(3)|list }}
{{ ['a', 'b']|join }}|{{ [1, none, 'x']|join('-') }}|{{ [{'n': 'p'}]|join(', ', attribute='n') }}|{{ 'abc'|join('.') }}
{{ 'a-b-a'|replace('a', 'x') }}|{{ 'aaa'|replace('a', 'b', 2) }}|{{ 'ab'|replace('', '.') }}|{{ 121|replace('1', '3') }}
{{ '3'|int }}|{{ '3.9'|int }}|{{ 'x'|int }}|{{ 'x'|int(7) }}|{{ '0x1f'|int(base=16) }}|{{ 'ff'|int(0, 16) }}|{{ 3.99|int }}|{{ none|int }}|{{ true|int }}|{{ ' 42 '|int }}|{{ '-5'|int }}
{{ '3.5'|float }}|{{ 'x'|float }}|{{ 'x'|float(1.5) }}|{{ 3|float }}|{{ '1e3'|float }}
{{ 2.5|round }}|{{ 3.14159|round(2) }}|{{ 3.2|round(method='ceil') }}|{{ 3.9|round(0, 'floor') }}|{{ 42.55|round(1) }}|{{ 5|round }}|{{ -2.5|round }}
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(1, blank=true) }}|{{ 'a\nb'|indent('> ') }}|{{ 'a\n'|indent(2) }}
{{ '<a href="x">\'&'|e }}|{{ '<'|safe }}|{{ ('<'|safe) + '<' }}|{{ '<' + ('<'|safe) }}|{{ ('<'|safe) ~ '<' }}|{{ ('<'|escape)|escape }}|{{ '<'|forceescape }}|{{ 'x'|safe is string }}
{{ 'abc'|length }}|{{ [1]|count }}|{{ {'a': 1}|length }}|{{ ''|length }}|{{ -3|abs }}|{{ 1.5|abs }}|{{ 'ab'|center(6) }}|{{ 'abc'|center(6) }}|{{ 'ab'|center(5) }}|{{ 'x'|string }}
{{ none|default('d') }}|{{ none|default('d', true) }}|{{ x|d('d') }}|{{ 0|d('z', boolean=true) }}|{{ false|default(1) }}
{{ ['a', 'b']|map('upper')|list }}|{{ [[1, 2], [3]]|map('length')|list }}|{{ [{'a': {'b': 1}}, {'a': {}}]|map(attribute='a.b')|list }}|{{ [[1, 2]]|map(attribute=1)|list }}|{{ [{'a': 1}, {}]|map(attribute='a', default=0)|list }}|{{ ['a b', 'c']|map('replace', ' ', '_')|join }}
{{ [1, 2, 3, 4]|select('even')|list }}|{{ [0, 1, '']|select|list }}|{{ [1, 'a', none]|reject('string')|list }}|{{ [1, 2, 3]|select('gt', 1)|list }}|{{ [1, 2, 3]|reject('in', [1, 2])|list }}|{{ [0, 1]|reject|list }}
{{ [{'r': 'u', 'n': 1}, {'r': 'a'}, {}]|selectattr('r', 'equalto', 'u')|list }}|{{ [{'t': 1}, {}]|selectattr('t', 'defined')|list }}|{{ [{'t': 1}, {}]|selectattr('t')|list }}|{{ [{'t': 1}, {'t': none}]|rejectattr('t', 'none')|list }}|{{ [{'t': {'f': 2}}]|selectattr('t.f', '==', 2)|list|length }}
{{ {'a': 1}|items|list }}|{{ [1, 2, 3]|batch(2)|list }}|{{ [1, 2, 3]|batch(2, 'x')|list }}|{{ {'a': 1}|attr('a') }}|{{ 'abc'|attr('upper') is callable }}|{{ 'A'|lower|upper|lower }}
{{ ['x']|map('tojson')|first }}|{% set g = [1, 2]|map('string') %}{{ g|list }}{{ g|list }}|{{ 'yes' if []|map('upper') else 'no' }}
"""

METHODS = r"""
{{ 'a b  c'.split() }}|{{ 'a,b,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a  b '.split(' ') }}|{{ 'a b c'.split(None, 1) }}|{{ 'a,b,c'.split(sep=',', maxsplit=1) }}|{{ ''.split() }}|{{ ''.split(',') }}|{{ ' a b c '.split(maxsplit=1) }}
{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'a b c'.rsplit(None, 1) }}|{{ '  a b '.rsplit() }}|{{ 'a\nb\r\nc\n'.splitlines() }}|{{ 'a\nb'.splitlines(true) }}|{{ 'k=v=w'.partition('=') }}|{{ 'k=v=w'.rpartition('=') }}|{{ 'k'.partition('=') }}
{{ ' x '.strip() }}|{{ 'xyx'.strip('x') }}|{{ ' x '.lstrip() }}.|{{ '  x '.rstrip() }}.|{{ 'abcxcba'.strip('abc') }}|{{ '\n\nx\n'.strip('\n') }}|{{ 'éaé'.strip('é') }}
{{ 'abc'.startswith('a') }}|{{ 'abc'.startswith(('x', 'ab')) }}|{{ 'abc'.endswith('bc') }}|{{ 'abc'.startswith('b', 1) }}|{{ 'abc'.endswith('b', 0, 2) }}|{{ ''.startswith('') }}|{{ 'abc'.startswith('', 9) }}
{{ 'abcabc'.find('c') }}|{{ 'abc'.find('x') }}|{{ 'abcabc'.rfind('b') }}|{{ 'éabc'.find('b') }}|{{ 'abcabc'.find('c', 3) }}|{{ 'abc'.index('b') }}|{{ 'abcabc'.count('bc') }}|{{ 'aaa'.count('') }}|{{ 'aaaa'.count('aa') }}|{{ 'abc'.find('', 1) }}
{{ 'aXbX'.replace('X', '-') }}|{{ 'aXbX'.replace('X', '-', 1) }}|{{ 'ab'.replace('', '-') }}|{{ 'ab'.replace('b', '') }}|{{ 'a'.replace('a', 'aa') }}
{{ 'Ab c'.upper() }}|{{ 'AB'.lower() }}|{{ 'hELLO wORLD'.capitalize() }}|{{ "they're bill's".title() }}|{{ 'aBc'.swapcase() }}|{{ 'ab'.center(5) }}|{{ 'ab'.center(7, '*') }}|{{ 'abc'.center(6, '*') }}|{{ 'ab'.ljust(4, '.') }}|{{ 'ab'.rjust(4) }}|{{ '-7'.zfill(4) }}|{{ '7'.zfill(3) }}
{{ 'abc'.isalpha() }}|{{ '12'.isdigit() }}|{{ 'a1'.isalnum() }}|{{ ' '.isspace() }}|{{ ''.isspace() }}|{{ 'AB1'.isupper() }}|{{ 'ab'.islower() }}|{{ '1'.islower() }}|{{ 'é'.isascii() }}|{{ 'é'.isalpha() }}
{{ '-'.join(['a', 'b']) }}|{{ ''.join('abc') }}|{{ 'prefix-x'.removeprefix('prefix-') }}|{{ 'x.py'.removesuffix('.py') }}|{{ '{} {}'.format(1, 'b') }}|{{ '{0}{1}{0}'.format('a', 'b') }}|{{ '{{}} {x!r}'.format(x='q') }}|{{ '{:5d}|{:<5}|{:05d}|{:+d}|{:x}'.format(42, 7, -42, 3, 255) }}|{{ '{:.3}'.format('abcdef') }}|{{ '{:*^9}'.format('mid') }}|{{ '{:.1f}'.format(2.25) }}
{{ {'a': 1}.get('a') }}|{{ {'a': 1}.get('b') }}|{{ {'a': 1}.get('b', 2) }}|{{ {'a': 1, 'b': 2}.keys()|list }}|{{ {'a': 1}.values()|list }}|{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}{{ v }}{% endfor %}|{{ {'a': 1}.items()|list }}|{{ 'a' in {'a': 1}.keys() }}|{{ {'a': 1}.copy() }}|{{ {'a': 1}.items()|length }}
{{ [1, 2, 1].count(1) }}|{{ [1, 2].index(2) }}|{{ (1, 2).index(2) }}|{{ [1].copy() }}|{{ [1].append is defined }}|{{ {}.update is defined }}|{{ {}.pop is defined }}|{{ 'x'.nothing is defined }}|{{ dict(a=1, b=2) }}|{{ dict([('a', 1)], b=2) }}|{{ dict({'a': 1}) }}|{{ namespace({'a': 1}, b=2).b }}
{{ '%s %r %d %5.1f %x %%' % ('a', 'b', 3.7, 2.25, 255) }}|{{ '%-5s|%5s|%05d' % ('a', 'b', 42) }}|{{ '%(a)s' % {'a': 1} }}|{{ '%s' % none }}|{{ '%s' % [1] }}|{{ 'no' % {} }}|{{ '%+d' % 3 }}|{{ '%.2s' % 'abc' }}
{{ range(5, 0, -2)|list }}|{{ range(2, 4)|list }}|{{ range(0)|list }}|{{ range(3)[1] }}|{{ range(3)|length }}|{{ 2 in range(3) }}|{{ range(3)|last }}
"""

TESTS = r"""
{{ 1 is number }}{{ true is number }}{{ 'a' is number }}{{ 1.0 is float }}{{ 1 is integer }}{{ true is integer }}{{ true is boolean }}{{ 1 is boolean }}
{{ [] is sequence }}{{ {} is sequence }}{{ 'a' is sequence }}{{ 1 is sequence }}{{ none is iterable }}{{ {} is iterable }}{{ 'a' is iterable }}{{ () is sequence }}{{ range(1) is iterable }}
{{ {} is mapping }}{{ [] is mapping }}{{ none is none }}{{ x is none }}{{ x is undefined }}{{ x is not defined }}{{ true is true }}{{ 1 is true }}{{ false is false }}{{ 0 is false }}
{{ 3 is odd }}{{ 4 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 1 is eq 1 }}{{ 1 is ne 1 }}{{ 1 is lt 2 }}{{ 2 is ge(2) }}{{ 'a' is in ['a'] }}{{ 'a' is sameas 'a' }}{{ none is sameas none }}{{ 1 is sameas true }}
{{ 'a' is lower }}{{ 'A' is upper }}{{ 'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}{{ range is callable }}{{ 1 is callable }}{{ 'a' is equalto 'a' }}{{ ('<'|e) is escaped }}
{{ 1 is not number }}{{ not 1 is number }}{{ 1 is number and 2 is number }}{{ x is defined or true }}{{ 'a' if x is defined else 'b' }}{{ ((5 is number) is defined) if true else 'ok' }}
{{ 3 == 3.0 }}{{ '3' == 3 }}{{ [1] == [1.0] }}{{ (1,) == [1] }}{{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}{{ none == false }}{{ 1 != 2 }}{{ 'a' != 'a' }}{{ [] == () }}{{ [1, [2]] == [1, [2]] }}
"""

SYNTAX = r"""
{{ "a" "b" 'c' }}|{{ 'it\'s \x41 \u00e9 \101 \q \\' }}|{{ 'two
lines' }}|{{ "\U0001F600" }}|{{ '\t|' }}
{{ [1, 2,] }}|{{ {'a': 1,} }}|{{ (1, 2,) }}|{{ 1, 2 }}|{{ {'a': 1}['a'] }}|{{ [[1, 2]][0][1] }}|{{ {'a': [1]}.a.0 }}|{{ [1, 2].0 }}
{{ -1 }}|{{ +1 }}|{{ - 1|abs }}|{{ -1|abs }}|{{ 2 - 1 }}|{{ 2-1 }}|{{ (1 + 2) * 3 }}|{{ 1 + 2 * 3 }}|{{ 10 - 2 - 3 }}|{{ 2 ** 3 ** 2 }}|{{ 1 ~ 2 * 3 }}|{{ 'x' + 1 ~ 2 }}|{{ 'a' ~ 'b' == 'ab' }}|{{ not true and false }}
{{ 1.5 }}|{{ 1e3 }}|{{ 1.5e-3 }}|{{ 1_000 }}|{{ 0 }}|{{ 1E2 }}|{{ 10.0 }}|{{ 0.1 + 0.2 }}|{{ 1e16 }}|{{ 123456789.123 }}|{{ 1e-5 }}
{% if 1, 0 %}tuple{% endif %}|{% if not [] %}empty{% elif 1 %}x{% else %}y{% endif %}|{% if 0 %}a{% elif 0 %}b{% else %}c{% endif %}|{% if true: %}colon{% endif %}
{% for i in 1, 2 %}{{ i }}{% endfor %}|{% for i in 'ab' %}{{ i }}{% endfor %}|{% for i in {'k': 1} %}{{ i }}{% endfor %}|{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }}{% endfor %}|{% for i in [1, 2, 3] if i > 1 %}{{ i }}{% else %}none{% endfor %}|{% for i in [1] if i > 1 %}{{ i }}{% else %}none{% endfor %}
{% for i in range(10) %}{% if i is odd %}{% continue %}{% endif %}{% if i > 6 %}{% break %}{% endif %}{{ i }}{% endfor %}|{% for i in [1, 2] %}{% for j in [1, 2] %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}
{% set x = 1 %}{% set y = x + 1 %}{{ y }}|{% set a, b = [1, 2] %}{{ a + b }}|{% set t = 1, 2 %}{{ t }}|{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{{ ns.a }}|{% set ns.b, c = 5, 6 %}{{ ns.b }}{{ c }}
{% macro f(a, b=2) %}[{{ a }},{{ b }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=1, a=2) }}{{ f(*[7, 8]) }}{{ f(**{'a': 9}) }}{{ f() }}{{ f(1)|length }}{{ f('x') ~ f('y') }}
{% macro fact(n) %}{% if n <= 1 %}1{% else %}{{ n * fact(n - 1)|int }}{% endif %}{% endmacro %}{{ fact(10) }}|{% macro list(xs) %}<{% for x in xs %}{{ list(x) if x is iterable else x }}{% endfor %}>{% endmacro %}{{ list([1, [2, [3]], 4]) }}
{% raw %}{{ x }} {% if %}{% endraw %}|{# comment {{ x }} #}|{%- print 1, 'a' -%}|{% if true -%}   x   {%- endif %}
{{ 'a'if true else'b' }}|{{ true and'x' }}|{{ [1,2,3][1:][0] }}|{{ 'abc'[1:][::-1] }}|{{ ('a', 'b')[-1] }}|{{ {'a':{'b':'c'}}['a']['b'] }}|{{ {'a': 1}.a is defined }}|{{ none }}{{ None }}{{ True }}{{ true }}
{{ loop }}|{% for i in [1] %}{{ loop.index }}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}|{{ {'a': 1, 'a': 2} }}|{{ {1: 'x', 1.0: 'y'} }}|{{ {'x': 1}.x }}
"""

# Each of these raises, when it is compiled or when it is rendered.
ERRORS = r"""
{{ raise_exception('no!') }}
{{ nope.attribute }}
{{ nope['item'] }}
{{ nope() }}
{{ nope + 'x' }}
{{ 'x' + nope }}
{{ 'x' + 1 }}
{{ 1 + 'x' }}
{{ 'x' + none }}
{{ [1] + (2,) }}
{{ none + none }}
{{ -'x' }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1 / 0 }}
{{ 1 < 'x' }}
{{ none < 1 }}
{{ nope < 1 }}
{{ {} < {} }}
{{ 1 in 5 }}
{{ 1 in 'abc' }}
{{ none in none }}
{{ {[]: 1} }}
{{ none|length }}
{{ 5|list }}
{% for x in 5 %}{% endfor %}
{% for x in none %}{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% set a, b = 1, 2, 3 %}
{{ 'abc'.nothing() }}
{{ none.foo.bar }}
{{ 'abc'[9].x }}
{{ [1].append(2) }}
{{ {}.update({'a': 1}) }}
{{ {'a': 1}.pop('a') }}
{{ ''.__class__.__mro__ }}
{{ {}.__class__() }}
{{ 'x'|unknown_filter }}
{{ 1 is unknown_test }}
{% unknown_tag %}
{% if true %}
{% endif %}
{% for x in y %}
{% endfor %}x{% endfor %}
{{ 1
{{ 'x
{{ }}
{% %}
{{ (1 }}
{{ [1) }}
{{ a b }}
{{ a. }}
{{ a..b }}
{{ 1 +  }}
{{ $ }}
{{ ☃ }}
{{ a☃ }}
{# no end
{% raw %} no end
{% break %}
{% macro m() %}{% endmacro %}{{ m(1) }}
{% macro m(a) %}{% endmacro %}{{ m(b=1) }}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m(a) %}{{ m(a) }}{% endmacro %}{{ m(1) }}
{% set x.y = 1 %}
{% set ns = {} %}{% set ns.y = 1 %}
{% set ns = namespace() %}{% set ns._y = 1 %}
{{ namespace(_a=1) }}
{% set 1 = 2 %}
{% set true = 2 %}
{{ nope[1:] }}
{{ [1, 2][::0] }}
{{ nope|tojson }}
{{ [nope]|tojson }}
{{ {'a': range}|tojson }}
{{ range(1000000) }}
{{ range(1, 2, 0) }}
{{ range('x') }}
{{ 'x'.split('') }}
{{ 'x'.join([1]) }}
{{ 'x'.startswith(1) }}
{{ 'x'.index('y') }}
{{ '{}'.format() }}
{{ '{x}'.format() }}
{{ '%d' % 'x' }}
{{ '%s %s' % 'x' }}
{{ '%s' % (1, 2) }}
{{ 'x' * 'y' }}
{{ {'a': 1}.get([]) }}
{{ [3, 'a']|sort }}
{{ [1]|join(',', 'x', 'y') }}
{{ 5|items|list }}
{{ 'x'|items|list }}
{{ 1|first }}
{{ ([1]|map('upper'))|last }}
{{ ([1]|map('upper'))|length }}
{{ [1]|selectattr|list }}
{{ [1]|map|list }}
{{ [1]|select('nope')|list }}
{{ 'x'|replace('x') }}
{{ 'x'|default('a', 'b', 'c') }}
{{ dict(1) }}
{{ f(a=1, 2) }}
{{ f(a=1, a=2) }}
{{ 1 is is 2 }}
{{ x is defined is none }}
{% extends 'a' %}
{% include 'a' %}
{% import 'a' as b %}
{% call 5 %}{% endcall %}
{{ caller() }}
{% filter nope %}x{% endfilter %}
{% if true %}{{ 1|nope }}{% endif %}
{{ 'x'|from_json }}
{{ undefined_function('x') }}
{{ 5() }}
{{ 'x'() }}
{% do [1].append(1) %}
{{ messages.foo.bar }}
{{ strftime_now() }}
{{ 1 if }}
{{ {'a' 1} }}
{{ {1, 2} }}
{{ a[ }}
{{ '\x4' }}
{{ '\N{DASH}' is none and nope.x }}
{{ [1,2,3]|batch }}
{{ nope|int }}
{{ nope|abs }}
{% elif x %}
{% else %}
{% set x %}no end
{% for x in [1] recursive %}{{ loop(5) }}{% endfor %}
{% with %}{{ nope.x }}{% endwith %}
{{ 1|round('x') }}
{{ 'a' is divisibleby 2 }}
"""

"""Writes coordinator/text/jinja/testdata/goldens.json and snippets.json: what Jinja2, set up as transformers sets it up for chat templates,
makes of the templates beside them.

usage: make_chat_goldens.py    (versions: ../requirements.txt; any transformers from 5.0 on has the same environment)

goldens.json: [{template, conversation, text} or {template, conversation, error}], templates/NAME.jinja with each of conversations.json.
snippets.json: [{source, text} or {source, error}]. The error texts are Jinja2's, for the reader: ours need only be errors.
"""
import datetime
import json
import os
import re

import transformers.utils.chat_template_utils as chat

from conversations import CONVERSATIONS
import snippets

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "..", "..", "coordinator", "text", "jinja", "testdata")


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2025, 3, 9, 7, 5, 2)  # testdata's clock: template_golden_test.cc has the same


def render(source, variables):
    try:
        text = chat._compile_jinja_template(source).render(**variables)
        text.encode()
        return {"text": text}
    except RecursionError:
        return {"error": "RecursionError"}
    except Exception as error:  # whatever a template can make Jinja2 raise
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def write(name, value):
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


def main():
    chat.datetime = FixedTime
    write("conversations.json", CONVERSATIONS)
    goldens = []
    folder = os.path.join(OUT, "templates")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
            source = file.read()
        for conversation, variables in CONVERSATIONS.items():
            goldens.append({"template": name, "conversation": conversation, **render(source, variables)})
    assert {g["template"] for g in goldens if g.get("text")} == set(os.listdir(folder)), "a template that renders nothing shows nothing"
    write("goldens.json", goldens)
    made, wrong = [], []
    for group in (snippets.FILTERS, snippets.METHODS, snippets.TESTS, snippets.SYNTAX):
        for source in re.split(r"\n(?=\{)", group.strip("\n")):
            result = render(source, {})
            wrong += [] if "text" in result else [(source, result)]
            made.append({"source": source, **result})
    for source in snippets.ERRORS.strip("\n").split("\n"):
        result = render(source, {})
        wrong += [] if "error" in result else [(source, result)]
        made.append({"source": source, **result})
    assert not wrong, "\n".join(map(str, wrong))
    write("snippets.json", made)
    errors = sum("error" in g for g in goldens)
    print(f"{len(os.listdir(folder))} templates, {len(goldens)} renderings, {errors} of them errors; {len(made)} snippets")


if __name__ == "__main__":
    main()

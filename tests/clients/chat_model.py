"""The demo model as the tests of clients want it."""
import json
import pathlib

DEMO = pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"
TOOL_TEXT = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'
TOOL_TOKEN = 2045  # the last of the vocabulary's words; in CHAT_MODEL it is TOOL_TEXT
END_TOKEN = 2047
CHAT_TEMPLATE = ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                 "{% for t in tools or [] %}{{ t.function.name }} is a tool.\n{% endfor %}"
                 "{% if add_generation_prompt %}assistant:{% endif %}")


def make_chat_model(folder):
    """The demo model with a chat template, and with a token that is a whole call of a tool."""
    folder.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / name).symlink_to(DEMO / name)
    config = json.loads((DEMO / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": CHAT_TEMPLATE}))
    tokenizer = json.loads((DEMO / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    word = next(w for w, i in vocabulary.items() if i == TOOL_TOKEN)
    del vocabulary[word]
    tokenizer["model"]["merges"] = [m for m in tokenizer["model"]["merges"] if "".join(m) != word]
    tokenizer["added_tokens"].append({"id": TOOL_TOKEN, "content": TOOL_TEXT, "single_word": False, "lstrip": False, "rstrip": False,
                                      "normalized": False, "special": False})
    tokenizer["added_tokens"].sort(key=lambda t: t["id"])
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder

"""What the golden templates are rendered with: conversations, tools, documents, and other variables."""

SEARCH = {"type": "function", "function": {
    "name": "find_flights", "description": "Finds flights between two cities.",
    "parameters": {"type": "object", "properties": {
        "origin": {"type": "string", "description": "City to start from"},
        "dest": {"type": "string", "description": "City to arrive at"},
        "day": {"type": "string", "enum": ["mon", "tue"], "default": "mon"},
        "stops": {"type": ["integer", "null"], "description": "At most so many stops", "default": 2},
        "tags": {"type": "array", "items": {"type": "string"}},
        "filters": {"type": "object", "properties": {"max_price": {"type": "number", "description": "In euro"}, "direct": {"type": "boolean"}},
                    "required": ["max_price"]},
        "when": {"oneOf": [{"type": "string"}, {"type": "integer"}], "default": "now"}},
        "required": ["origin", "dest"]}}}
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather \"now\" <b>& here</b> – été ☀.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "grid": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}},
                   "required": ["city"]}, "return": {"type": "string"}}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time.", "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, call_id="abc123DEF"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


SYSTEM = {"role": "system", "content": "  You are terse.\n"}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
DOCUMENTS = [{"doc_id": 7, "title": "Venus", "text": "Hot.\nVery hot.", "lang": "en"}, {"doc_id": 3, "title": "Mars", "text": "Red & dusty", "lang": "de"},
             {"doc_id": 5, "title": "Io", "text": ""}]
TOOL_TURNS = [user("Weather in Bern and Basel?"),
              assistant("", tool_calls=[call("get_weather", {"city": "Bern", "days": 2, "exact": 1.5, "note": None, "x": [True, "é"]}), call("get_weather", {"city": "Basel"}, "zyx987WVU")]),
              {"role": "tool", "name": "get_weather", "tool_call_id": "abc123DEF", "content": "{\"t\": 12}"},
              {"role": "tool", "name": "get_weather", "tool_call_id": "zyx987WVU", "content": "9 °C"},
              assistant("12 and 9 degrees."), user("Thanks!")]
ONE_CALL = [SYSTEM, user("What time is it?"), assistant(None, tool_calls=[call("clock", {})]), {"role": "tool", "tool_call_id": "abc123DEF", "content": "noon"}]
THOUGHT = [user("2+2?"), assistant("<think>\nfour, surely\n</think>\n\n4"), user("times 3?"), assistant("12", reasoning_content="\n4*3\n"), user("/no_think minus 1?")]

CONVERSATIONS = {
    "single": {"messages": [user("Hello there!")], "add_generation_prompt": True, **TOKENS},
    "bare": {"messages": [user("No other variable at all")]},
    "system": {"messages": [SYSTEM, user("  Hi \n")], "add_generation_prompt": True, **TOKENS},
    "turns": {"messages": [user("One"), assistant(" Two "), user("Three\n\nand ünïcødé 😀"), assistant("Four")], "add_generation_prompt": False, **TOKENS},
    "system_turns": {"messages": [SYSTEM, user("One"), assistant("Two"), user("Three")], "add_generation_prompt": True, **TOKENS},
    "tools": {"messages": [SYSTEM, user("Fly me to Bern.")], "tools": [SEARCH, WEATHER, CLOCK], "add_generation_prompt": True, **TOKENS},
    "tool_turns": {"messages": TOOL_TURNS, "tools": [WEATHER], "add_generation_prompt": True, **TOKENS},
    "one_call": {"messages": ONE_CALL, "tools": [CLOCK], "add_generation_prompt": True, "tools_in_user_message": False, "date_string": "today", **TOKENS},
    "thought": {"messages": THOUGHT, "add_generation_prompt": True, "enable_thinking": False, **TOKENS},
    "thinking": {"messages": THOUGHT[:4], "add_generation_prompt": True, "enable_thinking": True, "thinking": True, "reasoning_effort": "high", **TOKENS},
    "parts": {"messages": [{"role": "system", "content": [{"type": "text", "text": "Look closely."}]},
                           {"role": "user", "content": [{"type": "text", "text": " What is this? "}, {"type": "image"}, {"type": "text", "text": "Really"}]}],
              "add_generation_prompt": True, **TOKENS},
    "documents": {"messages": [user("Which planet is red? Answer in one word, please.")], "documents": DOCUMENTS, "controls": {"length": "short"},
                  "contexts": [" a ", "b"], "add_generation_prompt": True, **TOKENS},
    "builtin": {"messages": [SYSTEM, user("search"), assistant(None, tool_calls=[call("brave", {"query": "tea"})])], "builtin_tools": ["brave", "code_interpreter"], **TOKENS},
    "bad_turns": {"messages": [assistant("I begin"), assistant("and go on")], **TOKENS},
    "empty": {"messages": [], "tools": [], "add_generation_prompt": True, **TOKENS},
    "odd_role": {"messages": [user("a"), {"role": "critic", "content": "b", "name": "Bo"}], **TOKENS},
}

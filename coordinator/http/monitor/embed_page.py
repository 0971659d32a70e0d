#!/usr/bin/env python3
"""Makes C++ of the status page: one self-contained page as a string, and a Content-Security-Policy with the hashes of its script and style.

usage: embed_page.py PAGE.html STYLE.css SCRIPT.js [--html] > OUT.cc

--html prints the page itself.
"""
import base64
import hashlib
import sys

LITERAL = 12000  # bytes; compilers need not take more in one piece


def hash_of(body: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() + "'"


def insert(page: str, tag: str, body: str) -> str:
    empty = f"<{tag}></{tag}>"
    if page.count(empty) != 1 or f"</{tag}" in body:
        sys.exit(f"embed_page: the page needs one {empty}, and nothing may end it early")
    return page.replace(empty, f"<{tag}>{body}</{tag}>")


def literals(text: str) -> str:
    raw = text.encode()
    pieces = [raw[i:i + LITERAL] for i in range(0, len(raw), LITERAL)]
    lines = []
    for piece in pieces:
        escaped = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in piece)
        lines.append(f'    "{escaped}"')
    return "\n".join(lines)


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def main() -> None:
    page, style, script = (read(path) for path in sys.argv[1:4])
    page = insert(insert(page, "style", style), "script", script)
    if "--html" in sys.argv[4:]:
        print(page, end="")
        return
    policy = "; ".join([
        "default-src 'none'",
        f"script-src {hash_of(script)}",
        f"style-src {hash_of(style)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ])
    print('#include "coordinator/http/monitor/status_page.h"\n\nnamespace quire::http {\n')
    print(f"const char kStatusPage[] =\n{literals(page)};\n")
    print(f"const char kStatusPagePolicy[] =\n{literals(policy)};\n")
    print("}  // namespace quire::http")


if __name__ == "__main__":
    main()

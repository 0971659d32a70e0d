#!/usr/bin/env python3
"""Keeps the tree in the shape that docs/STYLE.md and docs/ARCHITECTURE.md promise.

usage: tools/tidy/tidy.py [--lower_ratchet] [ROOT]

Prints `file:line: rule: what is wrong and what to do`, one line per finding; exit code 1 if there is any. //tools/tidy:tree_test runs it
over the tree as part of `bazel test //...`, //tools/tidy:tidy_test proves that every rule fires.

Ratchet: tools/tidy/ratchet.txt lists what was too long when its limit came, each with its length. An entry may only fall: a listed file or
function that grew is a finding, and so is an entry higher than the truth (--lower_ratchet corrects those, and never adds or raises one).
"""
import os
import re
import subprocess
import sys
from typing import Dict, List, NamedTuple, Optional, Tuple

FILE_LIMIT = 500
FUNCTION_LIMIT = 70
TEST_FUNCTION_LIMIT = 120  # a table of cases is one thing
RATCHET = "tools/tidy/ratchet.txt"

CPP = (".cc", ".h", ".cu", ".cuh")
CODE = CPP + (".py", ".sh")
TEXT = CODE + (".md", ".bazel", ".bzl", ".BUILD", ".proto", ".yaml", ".txt", ".bazelrc", "WORKSPACE", "Containerfile")

# Who may include whom: folder -> what its files may include besides the folder itself. A folder stands for its files and subfolders, a
# file for itself. The longest matching key rules. Folders that are no key (tools/, tests/) may include anything.
MAY_INCLUDE = {
    "proto": [],
    "kernels": [],
    "coordinator": ["coordinator", "proto"],  # main.cc and what stands beside it: the only place that knows all
    "coordinator/spec": [],
    "coordinator/request": ["coordinator/spec", "coordinator/scheduler/step_plan.h"],
    "coordinator/kv": ["coordinator/request", "coordinator/scheduler/step_plan.h"],
    "coordinator/scheduler": ["coordinator/kv", "coordinator/request", "coordinator/spec"],
    "coordinator/scheduler/step_plan.h": [],
    "coordinator/engine": ["coordinator/scheduler", "coordinator/kv", "coordinator/request", "coordinator/spec",
                           "coordinator/cluster/worker_group.h", "coordinator/metrics"],
    "coordinator/cluster": ["coordinator/request/planted.h", "coordinator/scheduler/step_plan.h", "coordinator/metrics", "proto"],
    "coordinator/text": [],
    "coordinator/metrics": [],
    "coordinator/access": ["proto/loopback.h", "proto/pem_files.h"],
    "coordinator/grammar": ["coordinator/request", "coordinator/scheduler/step_plan.h"],
    "coordinator/openai": ["coordinator/frontend/field_error.h", "coordinator/engine/admission.h", "coordinator/text/utf8.h", "proto"],
    "coordinator/http": ["coordinator/openai", "coordinator/frontend", "coordinator/access", "coordinator/metrics", "coordinator/engine",
                         "coordinator/request", "proto"],
    "coordinator/frontend": ["coordinator/access", "coordinator/grammar", "coordinator/engine", "coordinator/text", "coordinator/request", "coordinator/scheduler/step_plan.h",
                             "coordinator/cluster/worker_group.h", "coordinator/metrics", "proto"],
    "worker": ["worker", "kernels", "proto"],
    "worker/service": ["worker/runtime", "worker/model/model.h", "worker/comm", "kernels", "proto"],
    "worker/runtime": ["worker/model", "worker/sampling", "worker/comm", "kernels", "proto"],
    "worker/model": ["worker/loader", "worker/comm/communicator.h", "kernels"],
    "worker/loader": ["kernels"],
    "worker/sampling": ["kernels", "proto"],
    "worker/comm": [],
}
# Tests, benchmarks and fakes may look further inside their own process, never into the other one's.
TEST_FILE = re.compile(r"(_test|_tests|_bench|_benchmark|_fuzz|_sim)\.(cc|cu|h)$|/(fake|test|testing|conformance)[^/]*$|/testing/")
OURS = ("coordinator/", "worker/", "kernels/", "proto/", "tools/", "tests/")

PURE = re.compile(r"^coordinator/(scheduler|kv|request|spec)/|^coordinator/engine/core")
IMPURE = re.compile(r"absl::Now\(|absl::GetCurrentTimeNanos|std::chrono|std::thread|std::mutex|absl::Mutex\b|std::random_device|absl::BitGen"
                    r"|#include <(thread|mutex|chrono|fstream|iostream|random|condition_variable|grpcpp/[^>]*)>"
                    r"|\bgettimeofday\(|\bclock_gettime\(|\bgetenv\(")
FAMILY = re.compile(r"llama|gpt[-_]?2|gptj|neox|\bopt\b|bloom|falcon|\bmpt\b|mistral|mixtral|qwen|baichuan|internlm|chatglm|\bphi\d?\b"
                    r"|gemma|\byi\b|aquila|deepseek", re.IGNORECASE)
VAGUE_NAME = re.compile(r"(^|/)(utils?|common|helpers?|misc|stuff)(\.[a-z]+|/|$)|_(utils?|helpers?|common)\.[a-z]+$")
TODO = re.compile(r"\b(TODO|FIXME|XXX)\b")
GOOD_TODO = re.compile(r"\bTODO\([^)\s][^)]*\): \S")
MACHINE_PATH = re.compile(r"(?<![\w.$})/~-])/(home|root|Users|work|workspace|scratch|mnt)/[A-Za-z_.]")
HEAVY_IN_HEADER = re.compile(r'#include\s*[<"](nlohmann/json\.hpp|gtest/|gmock/|pcre2\.h)')
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
DOC_PATH = re.compile(r"`((?:coordinator|worker|kernels|proto|tools|tests|deploy|docs|third_party|bazel_rules|models)/[\w./*-]*)`")
DOCS_WITH_PATHS = ("README.md", "docs/ARCHITECTURE.md", "docs/STYLE.md", "docs/GLOSSARY.md", "tests/README.md")
SELF = ("tools/tidy/tidy.py", "tools/tidy/tidy_test.py")  # they spell out what they look for


class Finding(NamedTuple):
    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


class Ratchet(NamedTuple):
    """Listed exceptions: (rule, path, function or "-") -> (length, line of the list)."""
    entries: Dict[Tuple[str, str, str], Tuple[int, int]]
    used: Dict[Tuple[str, str, str], int]  # the true length of what is still too long

    def check(self, key: Tuple[str, str, str], length: int, limit: int, line: int, what: str) -> List[Finding]:
        if length <= limit:
            return []
        self.used[key] = max(length, self.used.get(key, 0))
        listed = self.entries.get(key, (0, 0))[0]
        if length <= listed:
            return []
        note = f"it may have {listed} by {RATCHET}" if listed else f"the limit is {limit}"
        return [Finding(key[1], line, key[0], f"{what} has {length} lines, {note}; split it by what it does")]

    def stale(self) -> List[Finding]:
        found = []
        for key, (listed, line) in self.entries.items():
            truth = self.used.get(key, 0)
            if truth < listed:
                now = f"it has {truth} now" if truth else "it is short enough now or gone"
                found.append(Finding(RATCHET, line, "ratchet", f"{' '.join(key)} {listed}: {now}; run tools/tidy/tidy.py --lower_ratchet"))
        return found


def read(root: str, path: str) -> str:
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def load_ratchet(root: str) -> Ratchet:
    entries = {}
    if os.path.exists(os.path.join(root, RATCHET)):
        for number, line in enumerate(read(root, RATCHET).splitlines(), 1):
            fields = line.split("#")[0].split()
            if len(fields) == 4:
                entries[(fields[0], fields[1], fields[2])] = (int(fields[3]), number)
    return Ratchet(entries, {})


def list_files(root: str) -> List[str]:
    """Files of the tree: what git tracks or would add; every file where git cannot tell."""
    if os.path.exists(os.path.join(root, ".git")):
        git = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-co", "--exclude-standard"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, check=False)
        if git.returncode == 0:
            return sorted(p for p in git.stdout.decode().splitlines() if os.path.isfile(os.path.join(root, p)))
    found = []
    for folder, names, files in os.walk(root):
        names[:] = [n for n in names if not n.startswith((".", "bazel-")) and n != "__pycache__"]
        found += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(found)


# ---- C++ without its comments and strings ----

_NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^()\\ ]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)


def blank(text: str, keep_strings: bool = False) -> str:
    """The same text, lines kept, with comments (and strings) turned into spaces. Digit separators (1'000) are not quotes."""
    def wipe(match):
        token = match.group(0)
        if keep_strings and not token.startswith("/"):
            return token
        return re.sub(r"[^\n]", " ", token)
    return _NOISE.sub(wipe, re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "_", text))


_NOT_A_FUNCTION = re.compile(r"^\s*(?:inline\s+|template\s*<.*>\s*)*(namespace|class|struct|union|enum|extern)\b", re.DOTALL)
_LEAD = re.compile(r"(?:\s*(?:public|private|protected)\s*:(?!:))?\s*")
_BODY_BEFORE = re.compile(r"(?:[)}]|\b(?:const|override|final|noexcept|try|mutable)|->\s*[\w:<>,\s*&]+)\s*$")


def functions(text: str) -> List[Tuple[str, int, int]]:
    """(name, first line, number of lines) of every function body outside other functions. By matching braces: good enough for our style."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), blank(text), flags=re.MULTILINE)
    found, stack, head = [], [], 0  # stack of (kind, name, first line); head: where the text before the next brace begins
    for at in (m.start() for m in re.finditer(r"[{};]", code)):
        inside = any(kind == "function" for kind, _, _ in stack)
        if code[at] == ";":
            if not inside and code.count("(", head, at) == code.count(")", head, at):
                head = at + 1
        elif code[at] == "{":
            before = code[head:at]
            kind, name = "other", ""
            if not inside and not _NOT_A_FUNCTION.match(before) and "(" in before and _BODY_BEFORE.search(before):
                kind, name = "function", _name(before)
            if not inside and kind == "other" and not _NOT_A_FUNCTION.match(before) and "(" in before:
                kind = "initializer"  # a member's braces in a constructor's list, a table: the head goes on behind it
            start = code.count("\n", 0, head + _LEAD.match(before).end()) + 1
            stack.append((kind, name, start))
            if kind != "initializer" and not inside:
                head = at + 1
        elif stack:
            kind, name, start = stack.pop()
            if kind == "function":
                found.append((name, start, code.count("\n", 0, at) + 2 - start))
            if kind != "initializer" and not any(k == "function" for k, _, _ in stack):
                head = at + 1
    return found


def _name(head: str) -> str:
    test = re.search(r"\b(TEST|TEST_F|TEST_P|TYPED_TEST|BENCHMARK\w*)\s*\(\s*(\w+)\s*,\s*(\w+)", head)
    if test:
        return f"{test.group(2)}.{test.group(3)}"
    match = re.search(r"((?:[\w~]+(?:<[^<>()]*>)?::)*(?:operator\s*[^\s(]+|~?\w+))\s*\(", head)
    return re.sub(r"\s", "", match.group(1)) if match else "?"


# ---- rules on one file ----

def check_includes(path: str, lines: List[str]) -> List[Finding]:
    found = []
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if match:
            target = match.group(1)
            if target.startswith("../") or "/../" in target:
                found.append(Finding(path, number, "include-path", f'"{target}": include from the repository root'))
            elif target.startswith(OURS):
                reason = forbidden(path, target)
                if reason:
                    found.append(Finding(path, number, "direction", f'must not include "{target}": {reason}'))
        if path.endswith((".h", ".cuh")) and HEAVY_IN_HEADER.search(line) and not TEST_FILE.search(path):
            found.append(Finding(path, number, "heavy-header", "this library belongs in a .cc file; forward-declare or hide it behind a class"))
        if re.search(r"#include\s*<cuda_runtime", line) and not path.startswith("kernels/cuda/"):
            found.append(Finding(path, number, "cuda-header", "CUDA headers stay inside kernels/cuda/"))
    return found


def forbidden(path: str, target: str) -> Optional[str]:
    """Why `path` may not include `target`; None if it may."""
    mine, theirs = path.split("/")[0], target.split("/")[0]
    if {mine, theirs} == {"coordinator", "worker"}:
        return "coordinator and worker are two programs that share only proto/"
    if TEST_FILE.search(path) and theirs not in ("tools", "tests"):
        return None if mine != "kernels" or theirs == "kernels" else "kernels/ includes nothing else of ours"
    keys = [k for k in MAY_INCLUDE if path == k or path.startswith(k + "/")]
    if not keys:
        return None
    key = max(keys, key=len)
    own = key if not key.endswith(".h") else ""
    allowed = MAY_INCLUDE[key] + ([own] if own and own not in ("coordinator", "worker") else [])
    if any(target == a or target.startswith(a + "/") for a in allowed):
        return None
    return f"{key} may include only {', '.join(sorted(allowed)) or 'nothing of ours'}"


def check_guard(path: str, lines: List[str]) -> List[Finding]:
    if not path.endswith((".h", ".cuh")) or path.endswith("-inl.h"):  # Highway's re-included kernels guard themselves per target
        return []
    guard = "QUIRE_" + re.sub(r"[^A-Za-z0-9]", "_", path).upper() + "_"
    first = next(((n, l.split()) for n, l in enumerate(lines, 1) if l.startswith("#")), (1, []))
    if first[1][:2] != ["#ifndef", guard] or not any(l.split()[:2] == ["#define", guard] for l in lines):
        return [Finding(path, first[0], "guard", f"the include guard must be {guard}, before everything else but the head comment")]
    return []


def check_lines(path: str, lines: List[str], code: List[str]) -> List[Finding]:
    found = []
    library = path.endswith(CPP) and not path.startswith(("tools/", "tests/")) and not path.endswith("main.cc") and not TEST_FILE.search(path)
    decoder = path.startswith("worker/model/decoder") and not TEST_FILE.search(path)
    pure = PURE.match(path) and path.endswith(CPP) and not TEST_FILE.search(path)
    for number, line in enumerate(lines, 1):
        if TODO.search(line) and not GOOD_TODO.search(line):
            found.append(Finding(path, number, "todo", "write TODO(name or decision): why it is not done, or do it"))
        if MACHINE_PATH.search(line):
            found.append(Finding(path, number, "machine-path", "names a place on somebody's machine"))
        if decoder and FAMILY.search(line):
            found.append(Finding(path, number, "family", f"the decoder names a family ({FAMILY.search(line).group(0)}); make it a field of the spec"))
        text = code[number - 1] if number <= len(code) else ""
        if library and re.search(r"std::cout|\bprintf\(", text):
            found.append(Finding(path, number, "cout", "a library does not write to stdout: log, or return it"))
        if pure and IMPURE.search(text):
            found.append(Finding(path, number, "pure-core", f"{IMPURE.search(text).group(0)}: the core has no clock, thread, file or dice; pass it in"))
    return found


# ---- rules on the tree ----

def include_cycles(graph: Dict[str, List[Tuple[str, int]]]) -> List[Finding]:
    """One finding per include cycle, at the edge that closes it."""
    found, done, trail = [], set(), []

    def visit(path: str) -> None:
        trail.append(path)
        for target, line in graph.get(path, []):
            if target in trail:
                cycle = trail[trail.index(target):] + [target]
                found.append(Finding(path, line, "cycle", " -> ".join(cycle)))
            elif target not in done:
                visit(target)
        trail.pop()
        done.add(path)

    for start in sorted(graph):
        if start not in done:
            visit(start)
    return found


def doc_paths(root: str, path: str, lines: List[str]) -> List[Finding]:
    found = []
    for number, line in enumerate(lines, 1):
        for name in DOC_PATH.findall(line):
            if "*" not in name and not os.path.exists(os.path.join(root, name)):
                found.append(Finding(path, number, "doc-path", f"`{name}` does not exist"))
    return found


def check_tree(root: str) -> Tuple[List[Finding], Ratchet]:
    found: List[Finding] = []
    graph: Dict[str, List[Tuple[str, int]]] = {}
    ratchet = load_ratchet(root)
    for path in list_files(root):
        if VAGUE_NAME.search(path) and path.endswith(CODE):
            found.append(Finding(path, 1, "vague-name", "name the file after what it does"))
        if not path.endswith(TEXT) or path in SELF:
            continue
        text = read(root, path)
        lines = text.split("\n")
        code = blank(text, keep_strings=True).split("\n") if path.endswith(CPP) else []
        found += check_lines(path, lines, code)
        if path.endswith(CODE):
            length = len(text.splitlines())
            found += ratchet.check(("file-length", path, "-"), length, FILE_LIMIT, FILE_LIMIT + 1, "the file")
        if path.endswith(CPP):
            found += check_includes(path, code) + check_guard(path, code)
            graph[path] = [(m.group(1), n) for n, m in ((n, INCLUDE.match(l)) for n, l in enumerate(code, 1)) if m]
            limit = TEST_FUNCTION_LIMIT if path.endswith("_test.cc") else FUNCTION_LIMIT
            for name, line, length in functions(text):
                found += ratchet.check(("function-length", path, name), length, limit, line, name)
        if path in DOCS_WITH_PATHS:
            found += doc_paths(root, path, lines)
    found += include_cycles(graph) + ratchet.stale()
    return sorted(found), ratchet


def lower_ratchet(root: str, ratchet: Ratchet) -> None:
    kept = []
    for line in read(root, RATCHET).splitlines(keepends=True):
        fields = line.split("#")[0].split()
        if len(fields) == 4:
            truth = ratchet.used.get((fields[0], fields[1], fields[2]), 0)
            if truth:
                kept.append(" ".join(fields[:3] + [str(min(truth, int(fields[3])))]) + "\n")
        else:
            kept.append(line)
    with open(os.path.join(root, RATCHET), "w", encoding="utf-8") as file:
        file.writelines(kept)


def main(args: List[str]) -> int:
    lower = "--lower_ratchet" in args
    roots = [a for a in args if not a.startswith("-")]
    root = roots[0] if roots else os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    found, ratchet = check_tree(root)
    if lower:
        lower_ratchet(root, ratchet)
        found, _ = check_tree(root)
    for finding in found:
        print(finding)
    print(f"tidy: {len(found)} findings" if found else "tidy: clean", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Counts single test cases of one `bazel test` run, for tools/test.sh.

usage: test_report.py BUILD_EVENTS.json BAZEL_EXIT_CODE

Prints one line for each target that failed or did not build, then `PASSED FAILED SKIPPED`. Only the results of this run count: they are
found through its build events, never by looking what lies in bazel-testlogs. A target that failed counts at least one failure, whatever
its XML says, and a Bazel that failed without naming a target counts one too: the sum is 0 failures only if Bazel was content.
"""
import json
import re
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree

BAZEL_OK, BAZEL_TESTS_FAILED, BAZEL_NO_TESTS = 0, 3, 4
PYTHON_RAN = re.compile(r"^Ran (\d+) tests? in", re.MULTILINE)
PYTHON_BAD = re.compile(r"\b(failures|errors|skipped)=(\d+)")


def local_path(uri):
    return urllib.parse.unquote(urllib.parse.urlparse(uri).path)


def count_xml(path):
    """(passed, failed, skipped) cases; None if there is no readable XML."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return None
    failed = sum(1 for c in cases if c.find("failure") is not None or c.find("error") is not None)
    skipped = sum(1 for c in cases if c.find("skipped") is not None or c.get("status") == "notrun" or c.get("result") in ("skipped", "suppressed"))
    return len(cases) - failed - skipped, failed, skipped


def count_log(path):
    """The same from the summary of Python's unittest, whose target is one case to Bazel; None if the log has none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            log = file.read()
    except OSError:
        return None
    ran = sum(int(n) for n in PYTHON_RAN.findall(log))
    if not ran:
        return None
    bad = {"failures": 0, "errors": 0, "skipped": 0}
    for line in log.splitlines():
        if line.startswith(("FAILED (", "OK (")):
            for key, value in PYTHON_BAD.findall(line):
                bad[key] += int(value)
    failed = bad["failures"] + bad["errors"]
    return ran - failed - bad["skipped"], failed, bad["skipped"]


def count_result(result):
    """One attempt of one target."""
    outputs = {o.get("name"): local_path(o.get("uri", "")) for o in result.get("testActionOutput", [])}
    by_xml = count_xml(outputs.get("test.xml", ""))
    counts = by_xml or (0, 0, 0)
    if sum(counts) <= 1:
        counts = count_log(outputs.get("test.log", "")) or counts
    passed, failed, skipped = counts
    if result.get("status") != "PASSED":
        failed = max(failed, 1)
    elif passed + failed + skipped == 0:
        passed = 1
    return passed, failed, skipped


def read_events(path):
    results, broken = {}, set()
    with open(path, encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            ident = event.get("id", {})
            if "testResult" in event and "testResult" in ident:
                key = ident["testResult"]
                place = (key["label"], key.get("shard", 1), key.get("run", 1))
                results[place] = event["testResult"]  # a later attempt replaces an earlier one
            elif "targetCompleted" in ident and not event.get("completed", {}).get("success", False):
                broken.add(ident["targetCompleted"]["label"])
            elif "aborted" in event and "targetConfigured" in ident:
                broken.add(ident["targetConfigured"]["label"])
    return results, broken


def main(argv):
    results, broken = read_events(argv[1])
    code = int(argv[2])
    total = [0, 0, 0]
    labels = set()
    for (label, _, _), result in sorted(results.items()):
        labels.add(label)
        counts = count_result(result)
        total = [a + b for a, b in zip(total, counts)]
        if result.get("status") != "PASSED":
            print(f"failed: {label} ({result.get('status')})")
    for label in sorted(broken - labels):
        print(f"failed: {label} (did not build)")
        total[1] += 1
    if code not in (BAZEL_OK, BAZEL_NO_TESTS) and total[1] == 0:
        print(f"failed: bazel ended with exit code {code}")
        total[1] = 1
    print(*total)


if __name__ == "__main__":
    main(sys.argv)

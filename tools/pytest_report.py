"""Prints `N passed, N failed` of pytest's --junitxml file. A file that is missing or no report counts as one failure.

usage: pytest_report.py REPORT.xml [MORE_PASSED MORE_FAILED]
"""

import sys
import xml.etree.ElementTree as tree


def counts(path):
    try:
        suite = tree.parse(path).getroot().find("testsuite")
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        return int(suite.get("tests")) - bad - int(suite.get("skipped")), bad
    except (OSError, AttributeError, tree.ParseError):
        return 0, 1


if __name__ == "__main__":
    good, bad = counts(sys.argv[1])
    more = [int(n) for n in sys.argv[2:4]] or [0, 0]
    print(f"{good + more[0]} passed, {bad + more[1]} failed")

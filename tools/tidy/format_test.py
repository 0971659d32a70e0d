"""Every C++ file of the tree is as clang-format leaves it. Skipped where Debian 12's clang-format is missing: other versions set other breaks,
and nobody needs one to build."""
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import tidy  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
MAJOR = 14
FILES_A_RUN = 50


def run(*arguments):
    return subprocess.run(["clang-format", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def unformatted(files):
    """Those of the files that clang-format would change."""
    found = set()
    for begin in range(0, len(files), FILES_A_RUN):
        out = run("--dry-run", "-Werror", *files[begin:begin + FILES_A_RUN]).stdout.decode(errors="replace")
        found |= {line.split(":")[0] for line in out.splitlines() if "[-Wclang-format-violations]" in line}
    return sorted(found)


class FormatTest(unittest.TestCase):

    def setUp(self):
        if shutil.which("clang-format") is None:
            self.skipTest("there is no clang-format")
        version = re.search(r"version (\d+)", run("--version").stdout.decode())
        if version is None or int(version.group(1)) != MAJOR:
            self.skipTest(f"clang-format is not of version {MAJOR}")

    def test_files_are_formatted(self):
        files = [path for path in tidy.list_files(ROOT) if path.endswith(tidy.CPP)]
        self.assertGreater(len(files), 300)
        self.assertEqual([], unformatted(files), "run clang-format -i on these")

    def test_what_is_not_formatted_is_found(self):
        path = os.path.join(os.environ.get("TEST_TMPDIR", "/tmp"), "not_formatted.cc")
        with open(path, "w", encoding="utf-8") as file:
            file.write("int  f( ){return 1 ;}\n")
        self.assertEqual([path], unformatted([path]))


if __name__ == "__main__":
    unittest.main()

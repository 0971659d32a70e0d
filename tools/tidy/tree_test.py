"""The tree itself passes tidy.py. Bazel's runfiles are links into the source tree, so the tree is found through this file's own."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import tidy  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class TreeTest(unittest.TestCase):
    def test_tree_is_tidy(self):
        self.assertTrue(os.path.exists(os.path.join(ROOT, "WORKSPACE")), f"{ROOT} is not the source tree")
        found, _ = tidy.check_tree(ROOT)
        self.assertEqual([], found, "\n" + "\n".join(str(f) for f in found))


if __name__ == "__main__":
    unittest.main()

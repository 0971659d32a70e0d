"""Every overlay and component keeps the rules, and every rule fires: for each there is a bad copy that it must find by name."""
import copy
import glob
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
# pylint: disable=wrong-import-position
import policy
import policy_components  # noqa: F401  (these two: their rules register themselves)
import policy_copies
import policy_copies_components
import policy_links  # noqa: F401
from manifests import Binaries, Manifests
from renderings import DEPLOY, RENDERINGS, rendered


def binaries():
    """The two programs, beside this test in Bazel's runfiles."""
    runfiles = os.environ.get("TEST_SRCDIR", "")
    workspace = os.environ.get("TEST_WORKSPACE", "")
    return Binaries({p: os.path.join(runfiles, workspace, p, p) for p in ("coordinator", "worker")})


BAD_COPIES = policy_copies.BAD_COPIES + policy_copies_components.BAD_COPIES


class PolicyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.binaries = binaries()
        cls.objects = {name: rendered(name) for name in RENDERINGS}

    def findings(self, objects):
        return policy.check(Manifests(objects), self.binaries)

    def test_all_renderings_keep_the_rules(self):
        for name, objects in self.objects.items():
            with self.subTest(name):
                self.assertEqual(self.findings(objects), [])

    def test_each_bad_copy_is_found_by_its_rule(self):
        for number, (rule, name, spoil) in enumerate(BAD_COPIES):
            with self.subTest(rule=rule, rendering=name, number=number):
                objects = copy.deepcopy(self.objects[name])
                spoil(objects)
                self.assertNotEqual(objects, self.objects[name])
                self.assertIn(rule, {found for found, _ in self.findings(objects)})

    def test_each_rule_has_a_bad_copy(self):
        self.assertEqual(set(policy.RULES), {rule for rule, _, _ in BAD_COPIES})

    def test_each_overlay_and_component_is_rendered(self):
        there = {os.path.relpath(os.path.dirname(f), DEPLOY) for f in glob.glob(os.path.join(DEPLOY, "*", "*", "kustomization.yaml"))}
        used = {folder for folder, _ in RENDERINGS.values()} | {f"components/{c}" for _, components in RENDERINGS.values() for c in components}
        self.assertEqual(there, used - {"base"})

    def test_every_file_is_used(self):
        """A manifest that no kustomization names is never applied, and nobody notices."""
        for where in glob.glob(os.path.join(DEPLOY, "**", "kustomization.yaml"), recursive=True):
            folder = os.path.dirname(where)
            with open(where, encoding="utf-8") as file:
                text = file.read()
            unused = [f for f in os.listdir(folder) if f.endswith((".yaml", ".flags", ".json")) and f != "kustomization.yaml"
                      and not re.search(rf"(- |path: |=){re.escape(f)}\b", text)]
            self.assertEqual(unused, [], folder)


if __name__ == "__main__":
    unittest.main()

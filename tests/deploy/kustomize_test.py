"""The renderer: what it refuses, how it merges, and that the real kustomize makes the same of every rendering, where there is one."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
# pylint: disable=wrong-import-position
import kustomize
from renderings import DEPLOY, RENDERINGS, rendered

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
PODS = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "one", "image": "quire", "args": ["x", "y"]}, {"name": "two", "image": "two:1"}]}}}}


def real_kustomize():
    """The kustomize of this machine's kubectl as a command; None if there is none, or one of the years before components."""
    for command in (["/usr/local/bin/kustomize", "build"], ["/usr/bin/kubectl", "kustomize"], ["/usr/local/bin/kubectl", "kustomize"]):
        if shutil.which(command[0]) is None:
            continue
        version = [command[0], "version"] + (["--client"] if command[1] == "kustomize" else [])
        if "v5" in subprocess.run(version, capture_output=True, text=True, timeout=60, check=False).stdout:
            return command
    return None


def by_name(objects):
    return {(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in objects}


class KustomizeTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, *docs):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump_all(docs, file)

    def render(self, kustomization, *objects):
        self.write("objects.yaml", *objects)
        self.write("kustomization.yaml", {"resources": ["objects.yaml"], **kustomization})
        return kustomize.render(self.folder)

    def test_what_is_not_known_is_an_error(self):
        for kustomization in ({"helmCharts": []}, {"configMapGenerator": [{"name": "c", "envs": ["x"]}]},
                              {"patches": [{"target": {"annotationSelector": "x"}, "patch": "- {op: remove, path: /data}"}]},
                              {"patches": [{"target": {"kind": "ConfigMap"}, "patch": "- {op: move, path: /data, from: /x}"}]},
                              {"labels": [{"pairs": {}, "includeSelectors": True}]}):
            with self.subTest(kustomization), self.assertRaises(kustomize.RenderError):
                self.render(kustomization, CONFIG)

    def test_a_patch_that_meets_nothing_is_an_error(self):
        for patch in ({"patch": yaml.safe_dump({**CONFIG, "metadata": {"name": "other"}})},
                      {"target": {"kind": "ConfigMap"}, "patch": "- {op: replace, path: /data/b, value: x}"},
                      {"target": {"kind": "ConfigMap"}, "patch": "- {op: remove, path: /spec/x}"}):
            with self.subTest(patch), self.assertRaises(kustomize.RenderError):
                self.render({"patches": [patch]}, CONFIG)

    def test_two_deletions_in_one_patch_are_refused(self):
        self.write("delete.yaml", {**CONFIG, "$patch": "delete"}, {**PODS, "$patch": "delete"})
        with self.assertRaises(kustomize.RenderError):
            self.render({"patches": [{"path": "delete.yaml"}]}, CONFIG, PODS)

    def test_the_same_object_twice_is_refused(self):
        with self.assertRaises(kustomize.RenderError):
            self.render({}, CONFIG, CONFIG)

    def test_containers_merge_by_name_and_arguments_are_replaced(self):
        patch = {**PODS, "spec": {"template": {"spec": {"containers": [{"name": "two", "args": ["z"]}, {"name": "one", "args": ["w"]}]}}}}
        (obj,) = self.render({"patches": [{"patch": yaml.safe_dump(patch)}], "images": [{"name": "quire", "newName": "r/q", "newTag": "2"}]}, PODS)
        self.assertEqual(obj["spec"]["template"]["spec"]["containers"],
                         [{"name": "two", "image": "two:1", "args": ["z"]}, {"name": "one", "image": "r/q:2", "args": ["w"]}])

    def test_a_generated_name_follows_its_content(self):
        pods = {**PODS, "spec": {"template": {"spec": {"containers": [], "volumes": [{"name": "v", "configMap": {"name": "flags"}}]}}}}
        names = []
        for value in ("1", "2", "1"):
            objects = self.render({"configMapGenerator": [{"name": "flags", "literals": [f"a={value}"]}]}, pods)
            names.append(objects[1]["metadata"]["name"])
            self.assertEqual(objects[0]["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"], names[-1])
        self.assertEqual(names[0], names[2])
        self.assertNotEqual(names[0], names[1])

    def test_the_real_one_renders_the_same(self):
        command = real_kustomize()
        if command is None:
            self.skipTest("no kubectl with kustomize 5")
        # Components go on top of an overlay as a user's kustomization puts them; paths must be relative, so a copy of deploy/ it is.
        copy = os.path.join(self.folder, "deploy")
        shutil.copytree(DEPLOY, copy)
        for name, (folder, components) in RENDERINGS.items():
            with self.subTest(name):
                self.write("deploy/user/kustomization.yaml", {"namespace": "quire", "resources": ["../" + folder],
                                                              "components": ["../components/" + c for c in components]})
                run = subprocess.run([*command, os.path.join(copy, "user")], capture_output=True, text=True, timeout=120, check=False)
                self.assertEqual(run.returncode, 0, run.stderr[:2000])
                self.assertEqual(by_name(yaml.safe_load_all(run.stdout)), by_name(rendered(name)))


if __name__ == "__main__":
    unittest.main()

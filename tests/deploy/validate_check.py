"""Shows that validate.py finds what it must: one bad copy for each way to be wrong, and for each custom kind. Runs in its environment."""
import copy
import glob
import os
import unittest

import renderings
import validate


def find(kind):
    """The first object of that kind in any rendering."""
    return next(o for name in renderings.RENDERINGS for o in renderings.rendered(name) if o["kind"] == kind)


class ValidateTest(unittest.TestCase):
    def spoilt(self, kind, spoil):
        obj = copy.deepcopy(find(kind))
        self.assertEqual(list(validate.findings(obj)), [])
        spoil(obj)
        return list(validate.findings(obj))

    def test_core_kinds(self):
        for number, spoil in enumerate([
                lambda o: o["spec"].update(replicas="two"),
                lambda o: o["spec"].update(replica=2),
                lambda o: o["spec"]["template"]["spec"]["containers"][0].update(command="coordinator"),
                lambda o: o["spec"]["template"]["spec"]["containers"][0]["livenessProbe"].update(gprc={}),
                lambda o: o["spec"]["template"]["spec"]["containers"][0]["ports"][0].update(containerPort="http"),
                lambda o: o.update(apiVersion="apps/v2"),
                lambda o: o["spec"].pop("selector"),
        ]):
            with self.subTest(number):
                self.assertNotEqual(self.spoilt("Deployment", spoil), [])

    def test_a_template_inside_a_custom_kind(self):
        def spoil(obj):
            obj["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["resource"] = {}
        self.assertIn("resource", self.spoilt("LeaderWorkerSet", spoil)[0])

    def test_every_custom_kind_is_strict(self):
        kinds = [os.path.basename(f)[:-len(".json")] for f in glob.glob(os.path.join(validate.SCHEMAS, "*.json"))]
        self.assertIn("LeaderWorkerSet", kinds)
        for kind in kinds:
            for what, spoil in (("unknown field", lambda o: o["spec"].update(bogus=1)), ("version", lambda o: o.update(apiVersion="x/v0")),
                                ("empty spec", lambda o: o.update(spec={})), ("type", lambda o: o.update(spec={k: 1.5 for k in o["spec"]}))):
                with self.subTest(kind=kind, what=what):
                    self.assertNotEqual(self.spoilt(kind, spoil), [])

    def test_an_unknown_kind_is_a_finding(self):
        self.assertNotEqual(list(validate.findings({"apiVersion": "x/v1", "kind": "Bogus", "metadata": {"name": "x"}})), [])


if __name__ == "__main__":
    unittest.main()

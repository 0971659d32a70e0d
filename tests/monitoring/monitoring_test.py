"""Dashboard and alerts name only metrics that the server has, and promtool finds nothing wrong with either.

What needs promtool (Debian: prometheus) is skipped by name where there is none.
"""
import os
import shutil
import subprocess
import tempfile
import unittest

import yaml

from tests.monitoring import dashboard

PROMTOOL = shutil.which("promtool", path=os.environ.get("PATH", "") + ":/usr/bin")
needs_promtool = unittest.skipUnless(PROMTOOL, "no promtool (Debian: prometheus)")


def rule_groups() -> list:
    with open(f"{dashboard.FOLDER}/alerts.yaml", encoding="utf-8") as file:
        return yaml.safe_load(file)["spec"]["groups"]


def rules() -> list:
    return [rule for group in rule_groups() for rule in group["rules"]]


def promtool(files: dict, *words: str) -> None:
    """Runs promtool in a folder with these files; they are YAML unless they are text already."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        done = subprocess.run([PROMTOOL, *words], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"promtool {' '.join(words)}:\n{done.stdout}{done.stderr}")


class MonitoringTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        page = subprocess.run(["coordinator/metrics/print_page"], capture_output=True, text=True, check=True).stdout
        cls.families = dashboard.families_on(page)

    def assert_known(self, where: str, expr: str) -> None:
        names = dashboard.metrics_in(expr)
        self.assertTrue(names, f"{where}: {expr}")
        for name in names:
            self.assertTrue(dashboard.is_on(self.families, name), f"{where}: no page has {name}")

    def test_every_metric_of_the_dashboard_exists(self):
        for query in dashboard.queries():
            self.assert_known(query.panel, query.expr)

    def test_every_metric_of_the_alerts_exists(self):
        for rule in rules():
            self.assert_known(rule["alert"], rule["expr"])
            # In words, the metrics where to look.
            for name in dashboard.metrics_in(rule["annotations"]["description"]):
                self.assertIn(name, self.families, rule["alert"])

    def test_an_unknown_metric_would_be_found(self):
        with self.assertRaises(AssertionError):
            self.assert_known("copy", "rate(quire_time_to_first_token_seconds[1m])")
        with self.assertRaises(AssertionError):
            self.assert_known("copy", "quire_nothing_total")

    def test_the_dashboard_is_whole(self):
        seen = set()
        taken = set()
        for panel in dashboard.panels():
            self.assertNotIn(panel["id"], seen)
            seen.add(panel["id"])
            self.assertTrue(panel["title"])
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    taken.add((x, y))
        for query in dashboard.queries():
            self.assertIn('model_name=~"$model_name"', query.expr, query.panel)

    def test_every_alert_says_what_and_what_to_do(self):
        for rule in rules():
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"), rule["alert"])
            self.assertEqual(set(rule["annotations"]), {"summary", "description"}, rule["alert"])

    def test_every_alert_has_a_unit_test_that_fires_it(self):
        with open("tests/monitoring/alerts_test.yaml", encoding="utf-8") as file:
            tests = yaml.safe_load(file)["tests"]
        fired = {check["alertname"] for test in tests for check in test["alert_rule_test"] if check.get("exp_alerts")}
        self.assertEqual(fired, {rule["alert"] for rule in rules()})

    @needs_promtool
    def test_alerts_fire_when_they_should(self):
        with open("tests/monitoring/alerts_test.yaml", encoding="utf-8") as file:
            tests = file.read()
        files = {"rules.yaml": {"groups": rule_groups()}, "alerts_test.yaml": tests}
        promtool(files, "check", "rules", "rules.yaml")
        promtool(files, "test", "rules", "alerts_test.yaml")

    @needs_promtool
    def test_every_query_of_the_dashboard_parses(self):
        records = [{"record": f"query:{i}", "expr": dashboard.for_prometheus(query.expr, "1m")}
                   for i, query in enumerate(dashboard.queries())]
        promtool({"rules.yaml": {"groups": [{"name": "dashboard", "rules": records}]}}, "check", "rules", "rules.yaml")
        with self.assertRaises(AssertionError):
            broken = [{"record": "query:0", "expr": "rate(quire_ready[)"}]
            promtool({"rules.yaml": {"groups": [{"name": "dashboard", "rules": broken}]}}, "check", "rules", "rules.yaml")


if __name__ == "__main__":
    unittest.main()

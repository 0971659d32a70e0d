"""The page of a real server under load: promtool finds nothing wrong, and every query of the dashboard has an answer.

What needs promtool or prometheus (Debian: prometheus) is skipped by name where there is none.
"""
import subprocess
import time
import unittest

from tests.monitoring import dashboard, processes

PROMTOOL = processes.find("promtool")
PROMETHEUS = processes.find("prometheus")
# Families that this server has no reason to have.
ABSENT = {"quire_cert_not_after_seconds": "no TLS"}


class LiveTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.coordinator = processes.Coordinator("--peak_bandwidth_gbs=20", "--peak_tflops=1", "--speculative_method=ngram")
        cls.addClassCleanup(cls.coordinator.stop)
        cls.coordinator.complete("Once there was a fox.")

    def page(self) -> str:
        return processes.get(self.coordinator.url("/metrics"))

    @unittest.skipUnless(PROMTOOL, "no promtool (Debian: prometheus)")
    def test_promtool_finds_nothing_wrong(self):
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=self.page(), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_metric_of_the_dashboard_is_live(self):
        with processes.Load(self.coordinator):
            time.sleep(1)
        families = dashboard.families_on(self.page())
        for query in dashboard.queries():
            for name in dashboard.metrics_in(query.expr) - set(ABSENT):
                self.assertTrue(dashboard.is_on(families, name), f"{query.panel}: no {name}")

    @unittest.skipUnless(PROMETHEUS, "no prometheus (Debian: prometheus)")
    def test_every_query_has_an_answer_under_load(self):
        prometheus = processes.Prometheus(PROMETHEUS, self.coordinator.address)
        self.addCleanup(prometheus.stop)
        with processes.Load(self.coordinator):
            end = time.monotonic() + processes.PATIENCE
            silent = dashboard.queries()
            while silent and time.monotonic() < end:
                time.sleep(1)
                silent = [q for q in silent if not dashboard.metrics_in(q.expr) & set(ABSENT)
                          and not prometheus.query(dashboard.for_prometheus(q.expr, "10s"))]
        self.assertEqual(silent, [])


if __name__ == "__main__":
    unittest.main()

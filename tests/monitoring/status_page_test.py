"""The status page in a real browser against a real server: live, complete, escaped, on a wide screen and on a phone.

Skipped by name without Chromium (Debian: chromium). Screenshots are among the test's outputs.
"""
import os
import struct
import unittest

from tests.monitoring import chromium, processes

CHROMIUM = processes.find("chromium")
OUTPUTS = os.environ.get("TEST_UNDECLARED_OUTPUTS_DIR", os.environ.get("TEST_TMPDIR", "/tmp"))
# A pixel of every kind of block, and of a bar.
COLORS = """(() => {
  const found = new Set();
  for (const canvas of document.querySelectorAll('#replicas canvas')) {
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(data[i] + ',' + data[i + 1] + ',' + data[i + 2]);
  }
  return found.size;
})()"""


def text(element: str) -> str:
    return f"document.getElementById('{element}').textContent"


@unittest.skipUnless(CHROMIUM, "no Chromium (Debian: chromium)")
class StatusPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.coordinator = processes.Coordinator("--peak_bandwidth_gbs=20")
        cls.addClassCleanup(cls.coordinator.stop)

    def setUp(self):
        self.browser = chromium.Chromium(CHROMIUM)
        self.addCleanup(self.browser.close)

    def open(self, **how) -> None:
        self.browser.open(self.coordinator.url("/"), **how)
        self.browser.await_true("document.readyState === 'complete' && " + text("ready") + " === 'ready'")

    def screenshot(self, name: str, width: int) -> None:
        png = self.browser.screenshot(os.path.join(OUTPUTS, name))
        self.assertEqual(struct.unpack(">I", png[16:20])[0], width)
        self.assertGreater(len(png), 20_000, "an empty page is smaller")

    def test_it_is_live_and_asks_nobody_else(self):
        with processes.Load(self.coordinator):
            self.open()
            self.browser.await_true("[...document.querySelectorAll('.tile')].length >= 9")
            self.browser.await_true("[...document.querySelectorAll('.tile')].some(t => /Time to first token.*ms.*p99/.test(t.textContent))")
            self.browser.await_true("[...document.querySelectorAll('.tile')].some(t => /MBU.*%/.test(t.textContent))")
            self.browser.await_true("document.querySelector('#replicas canvas.steps').getAttribute('aria-label').includes('median')")
            self.browser.await_true("/[1-9][0-9]* (shared|used)/.test(document.querySelectorAll('#replicas canvas')[1].getAttribute('aria-label'))")
            self.assertGreaterEqual(self.browser.run(COLORS), 4)
            self.screenshot("status_light.png", 1280)
        self.assertEqual(self.browser.run("document.querySelector('#replicas tbody').children.length"), 1)
        self.assertTrue(all(url.startswith((self.coordinator.url("/"), "data:")) for url in self.browser.requested), self.browser.requested)
        self.assertEqual(self.browser.complaints, [])

    def test_a_prompt_streams_and_stays_text(self):
        self.open(theme="dark")
        prompt = "<img src=x onerror=alert(1)><script>alert(2)</script> The fox"
        self.browser.run(f"""document.getElementById('prompt').value = {prompt!r};
            document.getElementById('mode').value = 'text'; document.getElementById('max-tokens').value = 40;
            document.getElementById('send').click()""")
        self.browser.await_true(text("answer-facts") + ".includes('ended by')")
        self.assertRegex(self.browser.run(text("answer-facts")), r"first token .*ms, \d+ tokens.* ended by (stop|length)")
        self.assertGreater(len(self.browser.run(text("output"))), 5)
        # Whatever a model writes.
        self.browser.run("document.getElementById('output').append('<b>x</b>')")
        self.assertEqual(self.browser.run("document.querySelectorAll('#output *').length"), 0)
        self.screenshot("status_dark.png", 1280)
        self.assertEqual(self.browser.complaints, [])

    def test_errors_are_shown(self):
        self.open()
        self.browser.run("""document.getElementById('mode').value = 'text'; document.getElementById('max-tokens').value = 999999;
            document.getElementById('send').click()""")
        self.browser.await_true("document.getElementById('output').className.includes('error')")
        self.assertIn("max", self.browser.run(text("output")))

    def test_nothing_but_its_own_script_runs(self):
        self.open()
        self.browser.run("const s = document.createElement('script'); s.textContent = 'window.foreign = 1'; document.body.append(s)")
        self.assertIsNone(self.browser.run("window.foreign"))
        self.assertTrue(any("Content Security Policy" in c for c in self.browser.complaints), self.browser.complaints)

    def test_it_fits_a_phone(self):
        self.coordinator.complete("The fox")
        self.open(width=390, height=1600)
        self.browser.await_true("document.querySelectorAll('#replicas canvas').length === 2")
        self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), 390)
        self.screenshot("status_phone.png", 390)


if __name__ == "__main__":
    unittest.main()

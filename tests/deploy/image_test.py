"""The container image's recipe agrees with the programs and the manifests; the README's flags exist. deploy/container/prove.sh builds it."""
import functools
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
# pylint: disable=wrong-import-position
import policy
from renderings import DEPLOY, ROOT, rendered

PROGRAMS = {"coordinator": "coordinator/coordinator", "worker": "worker/worker", "generate": "tools/generate"}
# Of every Debian image.
ALWAYS_THERE = {"libc6", "libgcc-s1", "libstdc++6"}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def binary(program):
    return os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], PROGRAMS[program])


@functools.lru_cache(None)
def package_of(path):
    """The Debian package that has the library, which may be asked for by a link or through the merged /usr."""
    real = os.path.realpath(path)
    for name in (real, real.replace("/usr/lib/", "/lib/", 1), path):
        run = subprocess.run(["dpkg-query", "--search", name], capture_output=True, text=True, check=False)
        if run.returncode == 0:
            return run.stdout.split(":")[0]
    raise LookupError(f"no package has {path}")


def library_packages(program):
    """Debian packages of the libraries that the program itself is linked with."""
    headers = subprocess.run(["objdump", "-p", os.path.realpath(binary(program))], capture_output=True, text=True, check=True).stdout
    linked = subprocess.run(["ldd", binary(program)], capture_output=True, text=True, check=True).stdout
    paths = {line.split()[0]: line.split()[2] for line in linked.splitlines() if " => /" in line}
    needed = re.findall(r"^\s*NEEDED\s+(\S+)", headers, re.MULTILINE)
    return {package_of(paths[name]) for name in needed if name in paths}  # the loader has no path


class ImageTest(unittest.TestCase):
    def test_the_image_has_the_libraries_that_the_programs_need_and_no_other(self):
        recipe = read("deploy/container/Containerfile")
        final = recipe[recipe.rindex("\nFROM "):]
        listed = set(re.search(r"--no-install-recommends(.+?)&&", final, re.DOTALL).group(1).replace("\\", " ").split())
        needed = set().union(*map(library_packages, PROGRAMS)) - ALWAYS_THERE
        self.assertEqual(listed, needed, "change the list in deploy/container/Containerfile")

    def test_the_image_runs_as_the_user_of_the_pods(self):
        recipe = read("deploy/container/Containerfile")
        self.assertEqual(int(re.search(r"^USER (\d+)", recipe, re.MULTILINE).group(1)), policy.USER)

    def test_the_image_declares_the_ports_of_the_pods(self):
        exposed = {int(p) for p in re.search(r"^EXPOSE (.+)$", read("deploy/container/Containerfile"), re.MULTILINE).group(1).split()}
        declared = {p["containerPort"] for o in rendered("base") if o["kind"] in ("Deployment", "StatefulSet")
                    for c in o["spec"]["template"]["spec"]["containers"] for p in c["ports"]}
        self.assertLessEqual(declared, exposed)

    def test_the_tag_is_the_version_of_the_programs(self):
        (version,) = {v for f in glob.glob(os.path.join(ROOT, "coordinator", "*.h"))
                      for v in re.findall(r'kVersion\[\] = "([^"]+)"', read(f))}
        for name in ("base", "gpu-tp-lws"):
            tags = set(re.findall(r"'image': 'quire:([^']+)'", str(rendered(name))))
            self.assertEqual(tags, {version}, name)

    def test_flags_in_the_readme_exist(self):
        section = read("README.md").split("## Flags")[1].split("\n## ")[0]
        tables = re.findall(r"\| (coordinator|worker) \| meaning \|\n((?:\|.*\n)+)", section)
        self.assertEqual({program for program, _ in tables}, {"coordinator", "worker"})
        for program, table in tables:
            known = subprocess.run([binary(program), "--help"], capture_output=True, text=True, check=False).stdout
            self.assertLessEqual(set(re.findall(r"`--(\w+)", table)), set(re.findall(r"^    --(\w+) ", known, re.MULTILINE)), program)


class VerifyModelTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("config.json", "model.safetensors", "a name.json"):
            self.write(name, name)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def list_files(self):
        names = [n for n in os.listdir(self.folder) if n != "SHA256SUMS"]
        self.write("SHA256SUMS", "".join(f"{hashlib.sha256(n.encode()).hexdigest()}  {n}\n" for n in names))

    def verify(self, *arguments):
        script = os.path.join(DEPLOY, "container", "verify_model.sh")
        return subprocess.run(["sh", script, *(arguments or [self.folder])], capture_output=True, text=True, check=False).returncode

    def test_without_a_list_nothing_is_checked(self):
        self.assertEqual(self.verify(), 0)

    def test_what_is_listed_must_be_the_same(self):
        self.list_files()
        self.assertEqual(self.verify(), 0)
        self.write("a name.json", "other")
        self.assertEqual(self.verify(), 1)

    def test_a_missing_file_is_found(self):
        self.list_files()
        os.remove(os.path.join(self.folder, "config.json"))
        self.assertEqual(self.verify(), 1)

    def test_weights_can_be_left_out(self):
        self.list_files()
        self.write("model.safetensors", "other")
        self.assertEqual(self.verify(), 1)
        self.assertEqual(self.verify(self.folder, "--skip_weights"), 0)
        self.write("config.json", "other")
        self.assertEqual(self.verify(self.folder, "--skip_weights"), 1)

    def test_a_list_that_cannot_be_read_is_no_pass(self):
        self.list_files()
        for text in ("no checksum at all\n", "\n", "", "deadbeef  config.json\n"):
            self.write("SHA256SUMS", text)
            self.assertEqual(self.verify(), 1, text)
            self.assertEqual(self.verify(self.folder, "--skip_weights"), 1, text)

    def test_usage(self):
        for arguments in ([self.folder, "--other"], [self.folder, "--skip_weights", "x"]):
            self.assertEqual(self.verify(*arguments), 2)
        self.assertNotEqual(self.verify(os.path.join(self.folder, "nowhere")), 0)


if __name__ == "__main__":
    unittest.main()

"""A rendered kustomization as the rules see it: groups of equal pods, the flags that their programs start with, who selects whom."""
import os
import re
import subprocess
from typing import Dict, List, NamedTuple

PROGRAMS = ("coordinator", "worker")


class Pods(NamedTuple):
    """Pods made from one template."""
    owner: dict  # the Deployment, StatefulSet or LeaderWorkerSet
    role: str  # "pod", or "leader" and "worker" of a LeaderWorkerSet
    template: dict
    count: int

    @property
    def name(self):
        return f"{self.owner['kind']} {self.owner['metadata']['name']}" + ("" if self.role == "pod" else f" ({self.role})")

    @property
    def labels(self):
        return self.template["metadata"].get("labels", {})

    @property
    def spec(self):
        return self.template["spec"]

    @property
    def containers(self):
        return self.spec["containers"]

    def all_containers(self):
        return self.spec.get("initContainers", []) + self.spec["containers"]


def program_of(container):
    command = (container.get("command") or [""])[0]
    return command if command in PROGRAMS else None


def matches(selector, labels):
    """A label selector; an empty one matches all."""
    if selector is None:
        return False
    assert not set(selector) - {"matchLabels"}, f"selector {selector}"
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


def seconds(duration):
    """Of absl's text form: 1m30s."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", duration)
    if not parts or "".join(a + b for a, b in parts) != duration:
        raise ValueError(f"{duration!r} is no duration")
    return sum(float(number) * units[unit] for number, unit in parts)


def quantity(text):
    """Bytes or cores of a Kubernetes quantity."""
    number, unit = re.fullmatch(r"([\d.]+)(m|Ki|Mi|Gi|Ti)?", str(text)).groups()
    return float(number) * {"m": 1e-3, None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}[unit]


class Manifests:
    """All objects of one rendering."""

    def __init__(self, objects: List[dict]):
        self.objects = objects
        self.pods = [pods for obj in objects for pods in pods_of(obj)]

    def of_kind(self, *kinds):
        return [o for o in self.objects if o["kind"] in kinds]

    def named(self, kind, name):
        return next((o for o in self.of_kind(kind) if o["metadata"]["name"] == name), None)

    def programs(self, *names):
        """(pods, container, program) of every container that runs one of our programs."""
        found = [(pods, c, program_of(c)) for pods in self.pods for c in pods.containers]
        return [f for f in found if f[2] in (names or PROGRAMS)]

    def selected(self, selector):
        return [pods for pods in self.pods if matches(selector, pods.labels)]

    def services_of(self, pods):
        return [s for s in self.of_kind("Service") if s["spec"].get("selector") and matches({"matchLabels": s["spec"]["selector"]}, pods.labels)]

    def policies_of(self, pods):
        return [p for p in self.of_kind("NetworkPolicy") if matches(p["spec"]["podSelector"], pods.labels)]

    def arguments(self, pods, container):
        """Arguments with every --flagfile replaced by the lines of the ConfigMap that is mounted there; one that is not there stays."""
        result = []
        for argument in container.get("args", []):
            text = self.mounted_file(pods, container, argument.partition("=")[2]) if argument.startswith("--flagfile=") else argument
            lines = [argument] if text is None else text.splitlines()
            result += [line for line in map(str.strip, lines) if line and not line.startswith("#")]
        return result

    def flags(self, pods, container) -> Dict[str, str]:
        """Name -> value; the last one counts, as for the program."""
        found = {}
        for argument in self.arguments(pods, container):
            name, _, value = argument.lstrip("-").partition("=")
            found[name] = value
        return found

    def mounted_file(self, pods, container, path):
        """Text of a file that a ConfigMap puts there; None if none does."""
        for mount in container.get("volumeMounts", []):
            if os.path.dirname(path) != mount["mountPath"]:
                continue
            volume = next((v for v in pods.spec.get("volumes", []) if v["name"] == mount["name"]), {})
            config_map = self.named("ConfigMap", volume.get("configMap", {}).get("name")) or {}
            if os.path.basename(path) in config_map.get("data", {}):
                return config_map["data"][os.path.basename(path)]
        return None


def pods_of(obj):
    if obj["kind"] in ("Deployment", "StatefulSet"):
        return [Pods(obj, "pod", obj["spec"]["template"], obj["spec"].get("replicas", 1))]
    if obj["kind"] != "LeaderWorkerSet":
        return []
    group, replicas = obj["spec"]["leaderWorkerTemplate"], obj["spec"].get("replicas", 1)
    return [Pods(obj, "leader", group["leaderTemplate"], replicas),
            Pods(obj, "worker", group["workerTemplate"], replicas * (group["size"] - 1))]


class Binaries:
    """The two programs, asked what they think of flags."""

    def __init__(self, paths: Dict[str, str]):
        self.paths = paths
        self.answers = {}

    def errors(self, program, arguments):
        """What the program says against these flags: unknown names, values of another type."""
        key = (program, tuple(arguments))
        if key not in self.answers:
            # Parsing comes before --help, which ends the process without side effects; both end with 1.
            run = subprocess.run([self.paths[program], *arguments, "--help"], capture_output=True, text=True, timeout=60, check=False)
            if "Flags from" not in run.stdout and "ERROR" not in run.stderr:
                raise RuntimeError(f"{program} --help ended with {run.returncode}: {run.stderr[:500]}")
            self.answers[key] = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        return self.answers[key]

"""Policy over deploy/: what a cluster would only tell at run time (a selector that matches nothing, a flag that does not exist).

Reads the kustomize base as files: no kubectl, no cluster. Flags are looked up in the sources of the two programs, which are found
through this file's link into the source tree (see tests/README.md).
"""
import glob
import os
import re
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BASE = os.path.join(ROOT, "deploy", "base")
PROGRAMS = {"coordinator": "coordinator", "worker": "worker"}  # command of the container -> folder of its flags
MARGIN_SECONDS = 10


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def load_base():
    """Every object of the base, in the order of the kustomization."""
    names = yaml.safe_load(read("deploy/base/kustomization.yaml"))["resources"]
    return [o for n in names for o in yaml.safe_load_all(read("deploy/base", n)) if o]


def workloads(objects):
    return [o for o in objects if o["kind"] in ("Deployment", "StatefulSet")]


def pod(workload):
    return workload["spec"]["template"]["spec"]


def containers(objects):
    """(workload, container) of every container."""
    return [(w, c) for w in workloads(objects) for c in pod(w)["containers"]]


def matches(selector, labels):
    return all(labels.get(k) == v for k, v in (selector.get("matchLabels") or {}).items())


def defined_flags(folder):
    sources = glob.glob(os.path.join(ROOT, folder, "**", "*.cc"), recursive=True)
    return {name for s in sources for name in re.findall(r"\bABSL_FLAG\(\s*[^,]+,\s*(\w+)\s*,", read(s))}


def flag_values(container):
    """Flags that the container starts with: its arguments and the flag files that they name."""
    flags = {}
    for arg in container.get("args", []):
        name, _, value = arg.lstrip("-").partition("=")
        if name == "flagfile":
            lines = read("deploy/base", os.path.basename(value)).split()
            flags.update((l.lstrip("-").partition("=")[0], l.partition("=")[2]) for l in lines)
        else:
            flags[name] = value
    return flags


def seconds(duration):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", duration)
    assert parts and "".join(a + b for a, b in parts) == duration, duration
    return sum(float(number) * units[unit] for number, unit in parts)


class DeployTest(unittest.TestCase):
    def setUp(self):
        self.objects = load_base()

    def of_kind(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def test_kustomization_lists_every_file(self):
        listed = set(yaml.safe_load(read("deploy/base/kustomization.yaml"))["resources"])
        there = {os.path.basename(f) for f in glob.glob(os.path.join(BASE, "*.yaml"))} - {"kustomization.yaml"}
        self.assertEqual(listed, there)
        names = [(o["kind"], o["metadata"]["name"]) for o in self.objects]
        self.assertEqual(len(names), len(set(names)))

    def test_every_flag_exists(self):
        for _, container in containers(self.objects):
            program = container["command"][0]
            known = defined_flags(PROGRAMS[program])
            self.assertTrue(known, f"no flags found in {program}/")
            self.assertLessEqual(set(flag_values(container)), known, program)

    def test_flags_in_the_readme_exist(self):
        section = read("README.md").split("## Flags")[1].split("\n## ")[0]
        for program, table in re.findall(r"\| (coordinator|worker) \| meaning \|\n((?:\|.*\n)+)", section):
            named = set(re.findall(r"`--(\w+)", table))
            self.assertTrue(named)
            self.assertLessEqual(named, defined_flags(PROGRAMS[program]), program)

    def test_flag_files_are_in_the_config_map(self):
        generated = yaml.safe_load(read("deploy/base/kustomization.yaml"))["configMapGenerator"]
        files = {f for g in generated for f in g["files"]}
        for workload, container in containers(self.objects):
            for arg in container["args"]:
                path = arg.partition("=")[2]
                self.assertIn(os.path.basename(path), files)
                mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
                self.assertEqual(os.path.dirname(path), mounts["flags"])
                volume = next(v for v in pod(workload)["volumes"] if v["name"] == "flags")
                self.assertIn(volume["configMap"]["name"], {g["name"] for g in generated})

    def test_workers_that_the_coordinator_dials_exist(self):
        (worker,) = [w for w in workloads(self.objects) if w["kind"] == "StatefulSet"]
        (coordinator,) = [c for _, c in containers(self.objects) if c["command"] == ["coordinator"]]
        service = next(s for s in self.of_kind("Service") if s["metadata"]["name"] == worker["spec"]["serviceName"])
        self.assertEqual(service["spec"]["clusterIP"], "None")
        self.assertTrue(service["spec"]["publishNotReadyAddresses"])
        port = service["spec"]["ports"][0]["port"]
        expected = ["%s-%d.%s:%d" % (worker["metadata"]["name"], i, service["metadata"]["name"], port)
                    for i in range(worker["spec"]["replicas"])]
        self.assertEqual(flag_values(coordinator)["workers"].split(","), expected)

    def test_ports_agree(self):
        listen = {"coordinator": lambda f: int(f["grpc_port"]), "worker": lambda f: int(f["listen"].rpartition(":")[2])}
        for workload, container in containers(self.objects):
            port = listen[container["command"][0]](flag_values(container))
            self.assertEqual([p["containerPort"] for p in container["ports"]], [port])
            names = {p["name"]: p["containerPort"] for p in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                self.assertEqual(container[probe]["grpc"]["port"], port, probe)
            labels = workload["spec"]["template"]["metadata"]["labels"]
            services = [s for s in self.of_kind("Service") if matches({"matchLabels": s["spec"]["selector"]}, labels)]
            self.assertEqual(len(services), 1, workload["metadata"]["name"])
            self.assertIn(services[0]["spec"]["ports"][0]["targetPort"], names)
            policy_ports = {p["port"] for n in self.of_kind("NetworkPolicy") if matches(n["spec"]["podSelector"], labels)
                            for rule in n["spec"].get("ingress", []) for p in rule.get("ports", [])}
            self.assertEqual(policy_ports, {port})

    def test_selectors_match_their_pods(self):
        for workload in workloads(self.objects):
            labels = workload["spec"]["template"]["metadata"]["labels"]
            self.assertTrue(matches(workload["spec"]["selector"], labels))
            hits = [w for w in workloads(self.objects) if matches(workload["spec"]["selector"], w["spec"]["template"]["metadata"]["labels"])]
            self.assertEqual(hits, [workload])
        for selecting in self.of_kind("PodDisruptionBudget") + self.of_kind("NetworkPolicy"):
            selector = selecting["spec"].get("selector", selecting["spec"].get("podSelector"))
            self.assertTrue(any(matches(selector, w["spec"]["template"]["metadata"]["labels"]) for w in workloads(self.objects)),
                            selecting["metadata"]["name"])

    def test_default_is_deny(self):
        self.assertTrue(any(n["spec"]["podSelector"] == {} and sorted(n["spec"]["policyTypes"]) == ["Egress", "Ingress"]
                            and "ingress" not in n["spec"] and "egress" not in n["spec"] for n in self.of_kind("NetworkPolicy")))

    def test_probes(self):
        for _, container in containers(self.objects):
            services = [container[p]["grpc"]["service"] for p in ("startupProbe", "livenessProbe", "readinessProbe")]
            self.assertEqual(services, ["", "", "ready"])
        for source in ("coordinator/frontend/server.h", "worker/main.cc"):  # the name that the programs give it
            self.assertIn('kReadyService[] = "ready"', read(source))

    def test_there_is_time_to_drain(self):
        for workload, container in containers(self.objects):
            sleep = container["lifecycle"]["preStop"]["exec"]["command"]
            self.assertEqual(sleep[0], "sleep")
            drain = seconds(flag_values(container).get("shutdown_timeout", "0s"))
            self.assertGreaterEqual(pod(workload)["terminationGracePeriodSeconds"], int(sleep[1]) + drain + MARGIN_SECONDS)

    def test_pods_have_no_rights_that_they_do_not_need(self):
        for workload, container in containers(self.objects):
            spec, context = pod(workload), container["securityContext"]
            self.assertIs(spec["automountServiceAccountToken"], False)
            self.assertIs(spec["enableServiceLinks"], False)
            self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
            self.assertGreater(spec["securityContext"]["runAsUser"], 0)
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertIs(context["allowPrivilegeEscalation"], False)
            self.assertIs(context["readOnlyRootFilesystem"], True)
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
            self.assertNotIn("privileged", context)
            for key in ("hostNetwork", "hostPID", "hostIPC"):
                self.assertNotIn(key, spec)
            self.assertIn(spec["serviceAccountName"], {a["metadata"]["name"] for a in self.of_kind("ServiceAccount")})

    def test_volumes(self):
        claims = {c["metadata"]["name"] for c in self.of_kind("PersistentVolumeClaim")}
        for workload, container in containers(self.objects):
            volumes = {v["name"]: v for v in pod(workload)["volumes"]}
            mounts = {m["name"]: m for m in container["volumeMounts"]}
            self.assertEqual(set(volumes), set(mounts))
            self.assertIn(volumes["model"]["persistentVolumeClaim"]["claimName"], claims)
            self.assertIs(mounts["model"]["readOnly"], True)
            if container["command"] == ["worker"]:
                self.assertEqual((mounts["shm"]["mountPath"], volumes["shm"]["emptyDir"]["medium"]), ("/dev/shm", "Memory"))

    def test_resources(self):
        for _, container in containers(self.objects):
            resources = container["resources"]
            self.assertEqual(resources["requests"]["memory"], resources["limits"]["memory"])
            self.assertIn("cpu", resources["requests"])

    def test_disruption_budget_lets_a_drain_go_on(self):
        for budget in self.of_kind("PodDisruptionBudget"):
            hit = [w for w in workloads(self.objects) if matches(budget["spec"]["selector"], w["spec"]["template"]["metadata"]["labels"])]
            self.assertTrue(0 < budget["spec"]["maxUnavailable"] < sum(w["spec"]["replicas"] for w in hit))

    def test_coordinator_is_alone(self):
        (coordinator,) = [w for w in workloads(self.objects) if w["kind"] == "Deployment"]
        self.assertEqual(coordinator["spec"]["replicas"], 1)
        self.assertEqual(coordinator["spec"]["strategy"], {"type": "Recreate"})

    def test_image_runs_as_the_user_of_the_pods(self):
        image = read("deploy/container/Containerfile")
        users = {pod(w)["securityContext"]["runAsUser"] for w in workloads(self.objects)}
        self.assertEqual(users, {int(re.search(r"^USER (\d+)", image, re.MULTILINE).group(1))})
        for program in PROGRAMS:
            self.assertRegex(image, r"bazel-bin/%s/%s\b" % (program, program))


if __name__ == "__main__":
    unittest.main()

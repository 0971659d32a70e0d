#!/usr/bin/env python3
"""Runs rendered manifests as a kubelet would, without a cluster: a network namespace, an address and a name per pod; init containers; flags,
keys and certificates where the volumes say; probes; an end by SIGTERM. prove.sh calls it inside namespaces of its own.

usage: rehearse.py IMAGE_ROOT RENDERING...      renderings as tests/deploy/renderings.py names them

What it changes: a GPU's --device becomes cpu, the KV cache 64 MiB, the model the demo model. What it cannot show: scheduling, limits, network
policies, controllers. Certificates are made by openssl from what the Certificate objects ask for.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "deploy"))
# pylint: disable=wrong-import-position
from manifests import Manifests, program_of
from renderings import rendered

NAMESPACE = "quire"
START_SECONDS = 120  # of everything, model included; what the probes allow is longer
USER = "65532"
CHANGES = {"coordinator": ["--kv_cache_memory_bytes=67108864", "--worker_device=cpu"], "worker": ["--device=cpu", "--num_threads=1"]}


def run(*command, **options):
    """Output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Certificates:
    """The Secrets that cert-manager would fill, as folders."""

    def __init__(self, manifests, folder):
        self.folder, self.manifests = folder, manifests
        for certificate in sorted(manifests.of_kind("Certificate"), key=lambda c: not c["spec"].get("isCA")):
            self.make(certificate["metadata"]["name"], certificate["spec"])

    def make(self, name, spec):
        where = os.path.join(self.folder, spec["secretName"])
        os.makedirs(where)
        key, crt = os.path.join(where, "tls.key"), os.path.join(where, "tls.crt")
        names = [f"DNS:{n}" for n in spec.get("dnsNames", [])] + [f"URI:{u}" for u in spec.get("uris", [])]
        extensions = ["-addext", "subjectAltName=" + ",".join(names)] if names else []
        extensions += ["-addext", "basicConstraints=critical,CA:" + ("TRUE" if spec.get("isCA") else "FALSE")]
        signer = self.manifests.named("Issuer", spec["issuerRef"]["name"])["spec"].get("ca")
        ca = os.path.join(self.folder, signer["secretName"]) if signer else None
        by = ["-CA", os.path.join(ca, "tls.crt"), "-CAkey", os.path.join(ca, "tls.key")] if ca else []
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj",
            f"/CN={spec.get('commonName', name)}", "-keyout", key, "-out", crt, *extensions, *by)
        shutil.copy(os.path.join(ca, "tls.crt") if ca else crt, os.path.join(where, "ca.crt"))


class Pod:
    """One pod: a root file system over the image's, a network namespace, its processes."""

    def __init__(self, cluster, pods, name, number, host_names):
        self.cluster, self.pods, self.name, self.host_names = cluster, pods, name, host_names
        self.ip = f"10.99.0.{number + 10}"
        self.space = f"quire{number}"
        self.root = os.path.join(cluster.folder, name, "root")
        self.processes = {}

    def set_up(self):
        base = os.path.dirname(self.root)
        for part in ("root", "upper", "work"):
            os.makedirs(os.path.join(base, part))
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", f"v{self.space}", "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "link", "set", f"v{self.space}", "master", "pods", "up")
        run("ip", "-n", self.space, "addr", "add", f"{self.ip}/24", "dev", "eth0")
        run("ip", "-n", self.space, "link", "set", "eth0", "up")
        run("ip", "-n", self.space, "link", "set", "lo", "up")
        run("mount", "-t", "overlay", "-o", f"lowerdir={self.cluster.image},upperdir={base}/upper,workdir={base}/work", "overlay", self.root)
        with open(os.path.join(self.root, "etc", "hosts"), "w", encoding="utf-8") as file:
            file.write("127.0.0.1 localhost\n" + self.cluster.hosts())
        mounts = {m["mountPath"]: m["name"] for c in self.pods.all_containers() for m in c.get("volumeMounts", [])}
        for path in list(mounts) + ["/proc", "/dev"]:
            os.makedirs(self.root + path, exist_ok=True)
        run("mount", "-t", "proc", "proc", self.root + "/proc")
        run("mount", "--bind", "/dev", self.root + "/dev")
        volumes = {v["name"]: v for v in self.pods.spec["volumes"]}
        for path, name in mounts.items():
            self.mount(volumes[name], self.root + path)
        run("mount", "-o", "remount,ro", self.root)

    def mount(self, volume, target):
        if "emptyDir" in volume:
            size = volume["emptyDir"]["sizeLimit"].replace("Mi", "m").replace("Gi", "g")
            run("mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", target)
            return
        source = self.cluster.source_of(volume)
        run("mount", "--bind", source, target)
        run("mount", "-o", "remount,bind,ro", target)

    def command(self, container, arguments=()):
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        for entry in container.get("env", []):
            path = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            environment[entry["name"]] = {"metadata.name": self.name, "metadata.namespace": NAMESPACE, None: entry.get("value", "")}[path]
        texts = [re.sub(r"\$\((\w+)\)", lambda m: environment[m[1]], t) for t in [*container["command"], *container.get("args", []), *arguments]]
        return ["nsenter", f"--net=/run/netns/{self.space}", "chroot", f"--userspec={USER}:{USER}", f"--groups={USER}", self.root, "/usr/bin/env", "-i",
                *[f"{k}={v}" for k, v in environment.items()], "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", *texts]

    def start(self):
        for container in self.pods.spec.get("initContainers", []):
            print(f"  {self.name}: {container['name']}: {run(*self.command(container)).strip()}")
        for container in self.pods.containers:
            log = open(os.path.join(os.path.dirname(self.root), container["name"] + ".log"), "w", encoding="utf-8")
            changes = CHANGES[program_of(container)]
            self.processes[container["name"]] = subprocess.Popen(self.command(container, changes), stdout=log, stderr=log, start_new_session=True)

    def probe(self, container, kind):
        probe = container[kind]
        if "grpc" in probe:
            service = probe["grpc"].get("service", "").encode()
            message = b"\x0a" + bytes([len(service)]) + service if service else b""
            answer = grpc(f"http://{self.ip}:{probe['grpc']['port']}", "/grpc.health.v1.Health/Check", message)
            return answer[0] == "0" and answer[1][5:] == b"\x08\x01"  # SERVING
        names = {p["name"]: p["containerPort"] for p in container["ports"]}
        port = names.get(probe["httpGet"]["port"], probe["httpGet"]["port"])
        return http(f"{probe['httpGet'].get('scheme', 'HTTP').lower()}://{self.ip}:{port}{probe['httpGet']['path']}")[0] == 200

    def log(self):
        return "".join(open(os.path.join(os.path.dirname(self.root), c["name"] + ".log"), encoding="utf-8").read()[-3000:] for c in self.pods.containers)

    def end(self, grace):
        """SIGTERM, as after preStop. Errors: RuntimeError for an exit code that is not 0, or no end within the grace period."""
        for name, process in self.processes.items():
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=grace) != 0:
                raise RuntimeError(f"{self.name}: {name} ended with {process.returncode}\n{self.log()}")


def grpc(address, method, message, key=None, trust=("--insecure",)):
    """(grpc-status, body) of one unary call. `trust`: curl's options; by default no certificate is checked, as the kubelet does not."""
    command = ["curl", "--silent", *trust, "--max-time", "5", "--http2-prior-knowledge" if address.startswith("http:") else "--http2",
               "--header", "content-type: application/grpc", "--header", "te: trailers", "--data-binary", "@-", "--dump-header", "/dev/stderr",
               *(["--header", f"authorization: Bearer {key}"] if key else []), address + method]
    done = subprocess.run(command, input=b"\x00" + len(message).to_bytes(4, "big") + message, capture_output=True, check=False)
    status = re.findall(rb"(?m)^grpc-status: (\d+)", done.stderr)
    return (status[-1].decode() if status else None), done.stdout


def http(url, body=None, key=None, trust=("--insecure",)):
    """(status, text); status 0 if nobody answers."""
    command = ["curl", "--silent", *trust, "--max-time", "30", "--write-out", "\n%{http_code}", url,
               *(["--header", f"authorization: Bearer {key}"] if key else []),
               *(["--header", "content-type: application/json", "--data", body] if body else [])]
    text, _, status = subprocess.run(command, capture_output=True, text=True, check=False).stdout.rpartition("\n")
    return int(status or 0), text


class Cluster:
    """All pods of one rendering."""

    def __init__(self, image, name):
        self.image, self.name = image, name
        self.manifests = Manifests(rendered(name))
        self.folder = tempfile.mkdtemp(prefix="rehearsal.")
        os.chmod(self.folder, 0o755)
        run("mount", "-t", "tmpfs", "tmpfs", self.folder)
        self.secrets = os.path.join(self.folder, "secrets")
        Certificates(self.manifests, self.secrets)
        self.key = self.make_key()
        for path, _, files in os.walk(self.secrets):
            for file in files:
                shutil.chown(os.path.join(path, file), 0, int(USER))
                os.chmod(os.path.join(path, file), 0o440)
        self.pods = []
        for pods in self.manifests.pods:
            if not any(program_of(c) for c in pods.containers):
                continue  # a helper of a component, from another image
            for name_, hosts in pod_names(pods):
                self.pods.append(Pod(self, pods, name_, len(self.pods), hosts))

    def make_key(self):
        os.makedirs(os.path.join(self.secrets, "quire-api-keys"))
        made = subprocess.run(["chroot", self.image, "quire-api-key", "--tenant=rehearsal"], capture_output=True, text=True, check=True)
        with open(os.path.join(self.secrets, "quire-api-keys", "api_keys"), "w", encoding="utf-8") as file:
            file.write(made.stdout)
        return made.stderr.split()[-1]

    def hosts(self):
        lines = [f"{p.ip} {' '.join(p.host_names)}\n" for p in self.pods]
        for service in self.manifests.of_kind("Service"):
            ready = [p for p in self.pods if service in self.manifests.services_of(p.pods) and service["spec"].get("clusterIP") != "None"]
            lines += [f"{p.ip} {service['metadata']['name']} {service['metadata']['name']}.{NAMESPACE}.svc\n" for p in ready[:1]]
        return "".join(lines)

    def source_of(self, volume):
        if "persistentVolumeClaim" in volume:
            return os.path.join(TOP, "models", "demo")
        if "secret" in volume:
            return os.path.join(self.secrets, volume["secret"]["secretName"])
        folder = os.path.join(self.folder, "configmaps", volume["configMap"]["name"])
        if not os.path.exists(folder):
            os.makedirs(folder)
            for name, text in self.manifests.named("ConfigMap", volume["configMap"]["name"])["data"].items():
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
        return folder

    def wait_for(self, kind, what):
        deadline = time.monotonic() + START_SECONDS
        for pod in self.pods:
            for container in pod.pods.containers:
                while not pod.probe(container, kind):
                    dead = pod.processes[container["name"]].poll()
                    if dead is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"{pod.name} is not {what}: {'exit code %d' % dead if dead is not None else 'time is up'}\n{pod.log()}")
                    time.sleep(0.2)
        print(f"  all {len(self.pods)} pods are {what}")

    def call(self):
        """Clients: without a key refused, with it served."""
        (coordinator,) = [p for p in self.pods if program_of(p.pods.containers[0]) == "coordinator"]
        flags = self.manifests.flags(coordinator.pods, coordinator.pods.containers[0])
        # As a client does: by the Service's name, which the certificate must be for.
        scheme, name, trust = "http", f"quire.{NAMESPACE}.svc", []
        if "ssl_certfile" in flags:
            scheme, trust = "https", ["--cacert", os.path.join(self.secrets, "quire-server-tls", "ca.crt")]
        for port in (flags["grpc_port"], flags["port"]):
            trust += ["--resolve", f"{name}:{port}:{coordinator.ip}"]
        method = "/quire.v1.Generator/GetModelInfo"
        answers = [grpc(f"{scheme}://{name}:{flags['grpc_port']}", method, b"", key, trust)[0] for key in (None, "wrong", self.key)]
        print(f"  gRPC status without a key, with a wrong one, with the key: {answers}")
        if answers != ["16", "16", "0"]:
            raise RuntimeError(f"keys: {answers}\n{coordinator.log()}")
        url = f"{scheme}://{name}:{flags['port']}"
        body = '{"model": "model", "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}'
        answers = [http(url + "/v1/completions", body, key, trust) for key in (None, "wrong", self.key)]
        print(f"  {url}: {[a[0] for a in answers]}, {answers[2][1][:400]}")
        if [a[0] for a in answers] != [401, 401, 200]:
            raise RuntimeError(f"HTTP: {answers}\n{coordinator.log()}")
        status, page = http(url + "/metrics", trust=trust)
        if status != 200 or "quire_num_requests_waiting" not in page:
            raise RuntimeError(f"/metrics: {status}, {page[:300]}")

    def rehearse(self):
        print(f"=== {self.name}: {', '.join(p.name for p in self.pods)}")
        for pod in self.pods:
            pod.set_up()
        for pod in self.pods:
            pod.start()
        for kind, what in (("startupProbe", "started"), ("readinessProbe", "ready"), ("livenessProbe", "alive")):
            self.wait_for(kind, what)
        self.call()
        for pod in sorted(self.pods, key=lambda p: program_of(p.pods.containers[0]) != "coordinator"):
            pod.end(pod.pods.spec["terminationGracePeriodSeconds"])
        print("  all ended with 0 after SIGTERM")


def pod_names(pods):
    """(name, host names) of each pod of a template."""
    owner = pods.owner["metadata"]["name"]
    if pods.owner["kind"] == "Deployment":
        names, subdomain = [f"{owner}-{i}" for i in range(pods.count)], None
    elif pods.owner["kind"] == "StatefulSet":
        names, subdomain = [f"{owner}-{i}" for i in range(pods.count)], pods.owner["spec"]["serviceName"]
    else:
        size, groups = pods.owner["spec"]["leaderWorkerTemplate"]["size"], pods.owner["spec"].get("replicas", 1)
        names = [f"{owner}-{g}" if pods.role == "leader" else f"{owner}-{g}-{i}"
                 for g in range(groups) for i in ([0] if pods.role == "leader" else range(1, size))]
        subdomain = owner
    return [(n, [n] + ([f"{n}.{subdomain}", f"{n}.{subdomain}.{NAMESPACE}.svc"] if subdomain else [])) for n in names]


def main():
    image = sys.argv[1]
    # Names of network namespaces are files: not this machine's.
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "add", "pods", "type", "bridge")
    run("ip", "addr", "add", "10.99.0.1/24", "dev", "pods")
    run("ip", "link", "set", "pods", "up")
    run("ip", "link", "set", "lo", "up")
    for name in sys.argv[2:]:
        cluster = Cluster(image, name)
        try:
            cluster.rehearse()
        finally:
            for pod in cluster.pods:
                for process in pod.processes.values():
                    process.kill()
                    process.wait()
                subprocess.run(["ip", "netns", "delete", pod.space], capture_output=True, check=False)


if __name__ == "__main__":
    main()

"""Rules over rendered manifests: what a cluster would tell only at run time, or never. The rules about single pods; policy_links.py has those
about objects that name one another.

A rule is a function of (Manifests, Binaries) that yields what is wrong, one sentence each; its name is the finding's name.
"""
import re

from manifests import quantity, seconds

MARGIN_SECONDS = 10  # between the end of the drain and the kill
MIN_START_SECONDS = {"coordinator": 600, "worker": 60}  # a coordinator starts while weights load; a worker answers at once
USER = 65532
EXTERNAL_SECRETS = {"quire-api-keys"}  # made by the operator before the first start (deploy/README.md)
RULES = {}


def rule(function):
    RULES[function.__name__] = function
    return function


def check(manifests, binaries):
    """Every finding as (rule, sentence); `unreadable` if a rule stumbled over what it looks at."""
    findings = []
    for name, function in RULES.items():
        try:
            findings += [(name, finding) for finding in function(manifests, binaries)]
        except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
            findings.append(("unreadable", f"rule {name}: {error!r}"))
    return findings


def probe_service(probe):
    """The grpc service that a probe asks for; of an HTTP probe, which stands in where gRPC speaks TLS, its meaning."""
    if "grpc" in probe:
        return probe["grpc"].get("service", "")
    if "httpGet" in probe:
        return {"/health": "", "/ready": "ready"}.get(probe["httpGet"]["path"], probe["httpGet"]["path"])
    return "(no service)"


def probe_port(probe, container):
    port = next((probe[k]["port"] for k in ("grpc", "httpGet", "tcpSocket") if k in probe), None)
    names = {p.get("name"): p["containerPort"] for p in container.get("ports", [])}
    return names.get(port, port)


@rule
def probes(manifests, binaries):
    for pods, container, program in manifests.programs():
        found = [container.get(p) for p in ("startupProbe", "livenessProbe", "readinessProbe")]
        if None in found:
            yield f"{pods.name}: {program} needs a startup, a liveness and a readiness probe"
            continue
        services = [probe_service(p) for p in found]
        if services != ["", "", "ready"]:
            yield f"{pods.name}: {program} is probed for {services}, must be alive, alive, ready"
        if found[2].get("failureThreshold", 3) != 1:
            yield f"{pods.name}: {program} must lose readiness at the first failure"
    for pods in manifests.pods:
        for container in pods.containers:
            if not container.get("livenessProbe") or not container.get("readinessProbe"):
                yield f"{pods.name}: {container['name']} has no liveness or readiness probe"


@rule
def start_time(manifests, binaries):
    for pods, container, program in manifests.programs():
        probe = container.get("startupProbe", {})
        budget = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        if budget < MIN_START_SECONDS[program]:
            yield f"{pods.name}: {program} may take {budget} s to start, must be {MIN_START_SECONDS[program]} at least"


def pre_stop(container):
    return container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)


@rule
def drain_time(manifests, binaries):
    drains = [0]
    for pods, container, program in manifests.programs("coordinator"):
        drain = seconds(manifests.flags(pods, container).get("shutdown_timeout", "15s"))
        drains.append(pre_stop(container) + drain)
        if pre_stop(container) < 5:
            yield f"{pods.name}: {program} waits {pre_stop(container)} s before SIGTERM, clients need 5 to look elsewhere"
        needed = pre_stop(container) + drain + MARGIN_SECONDS
        if pods.spec.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{pods.name}: killed after {pods.spec.get('terminationGracePeriodSeconds', 30)} s, its drain may take {needed:.0f}"
    for pods, container, program in manifests.programs("worker"):
        if pre_stop(container) < max(drains):
            yield f"{pods.name}: ends {pre_stop(container)} s after it is told, the coordinator may drain for {max(drains):.0f}"
        if pods.spec.get("terminationGracePeriodSeconds", 30) < pre_stop(container) + MARGIN_SECONDS:
            yield f"{pods.name}: killed while it waits in preStop"


@rule
def resources(manifests, binaries):
    for pods in manifests.pods:
        for container in pods.all_containers():
            asked, limits = container.get("resources", {}).get("requests", {}), container.get("resources", {}).get("limits", {})
            where = f"{pods.name}: {container['name']}"
            if "cpu" not in asked:
                yield f"{where} requests no cpu"
            for name in sorted({"memory"} | {n for n in {**asked, **limits} if "/" in n}):
                if name not in asked or asked[name] != limits.get(name):
                    yield f"{where}: {name} requests {asked.get(name)}, limit {limits.get(name)}; must be the same"


@rule
def rights(manifests, binaries):
    for pods in manifests.pods:
        context = pods.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser", 0) == 0:
            yield f"{pods.name} may run as root"
        if manifests.programs() and any(p is pods for p, _, _ in manifests.programs()) and context.get("runAsUser") != USER:
            yield f"{pods.name} runs as {context.get('runAsUser')}, the image is made for {USER}"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pods.name} has no seccomp profile"
        if pods.spec.get("enableServiceLinks") is not False:
            yield f"{pods.name}: Services become environment variables"
        for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if pods.spec.get(key):
                yield f"{pods.name}: {key}"
        for container in pods.all_containers():
            where, own = f"{pods.name}: {container['name']}", container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{where} may gain privileges"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{where} may write to its root file system"
            if own.get("capabilities", {}).get("drop") != ["ALL"]:
                yield f"{where} keeps capabilities"


@rule
def added_capabilities(manifests, binaries):
    """IPC_LOCK is what RDMA needs; a namespace that enforces `restricted` would refuse the pod."""
    levels = [n["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") for n in manifests.of_kind("Namespace")]
    adding = False
    for pods in manifests.pods:
        for container in pods.all_containers():
            added = container.get("securityContext", {}).get("capabilities", {}).get("add", [])
            rdma = any(n.startswith("rdma/") for n in container.get("resources", {}).get("limits", {}))
            adding = adding or bool(added)
            if added and (added != ["IPC_LOCK"] or not rdma):
                yield f"{pods.name}: {container['name']} adds {added}; only IPC_LOCK beside an rdma/ resource is known to be needed"
            if rdma and not added:
                yield f"{pods.name}: {container['name']} cannot register memory for RDMA without IPC_LOCK"
    if levels != (["privileged"] if adding else ["restricted"]):
        yield f"the namespace enforces pod security {levels}, must be {'privileged' if adding else 'restricted'}"


@rule
def api_token(manifests, binaries):
    """Neither program talks to the Kubernetes API; what does has a role of its own."""
    bound = {s["name"] for b in manifests.of_kind("RoleBinding") for s in b["subjects"] if s["kind"] == "ServiceAccount"}
    for pods in manifests.pods:
        account = pods.spec.get("serviceAccountName", "default")
        if manifests.named("ServiceAccount", account) is None:
            yield f"{pods.name}: service account {account} does not exist"
        if account not in bound and pods.spec.get("automountServiceAccountToken") is not False:
            yield f"{pods.name} gets an API token that it does not need"
    for account in manifests.of_kind("ServiceAccount"):
        if account["metadata"]["name"] not in bound and account.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount {account['metadata']['name']} hands out tokens"


@rule
def volumes(manifests, binaries):
    secrets = EXTERNAL_SECRETS | {c["spec"]["secretName"] for c in manifests.of_kind("Certificate")}
    for pods in manifests.pods:
        volume_of = {v["name"]: v for v in pods.spec.get("volumes", [])}
        mounted = {m["name"] for c in pods.all_containers() for m in c.get("volumeMounts", [])}
        for name in sorted(mounted ^ set(volume_of)):
            yield f"{pods.name}: volume {name} is {'mounted but not there' if name in mounted else 'never mounted'}"
        for name, volume in volume_of.items():
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{pods.name}: volume {name} has no size limit"
            for source, key, there in (("persistentVolumeClaim", "claimName", lambda n: manifests.named("PersistentVolumeClaim", n)),
                                       ("configMap", "name", lambda n: manifests.named("ConfigMap", n)),
                                       ("secret", "secretName", secrets.__contains__)):
                if source in volume and not there(volume[source][key]):
                    yield f"{pods.name}: volume {name}: {source} {volume[source][key]} does not exist"
        for container in pods.all_containers():
            for mount in container.get("volumeMounts", []):
                source = volume_of.get(mount["name"], {})
                if "emptyDir" not in source and mount.get("readOnly") is not True:
                    yield f"{pods.name}: {container['name']} may write to {mount['mountPath']}"


@rule
def memory_volumes(manifests, binaries):
    """Scratch space is memory that counts; ranks need /dev/shm, of which a container has 64 MiB by itself."""
    for pods, container, program in manifests.programs():
        places = {m["mountPath"]: m["name"] for m in container.get("volumeMounts", [])}
        sources = {v["name"]: v.get("emptyDir", {}) for v in pods.spec.get("volumes", [])}
        ranks = program == "worker" or manifests.flags(pods, container).get("workers", "local").startswith("local")
        for path in ("/tmp", "/dev/shm") if ranks else ("/tmp",):
            if sources.get(places.get(path), {}).get("medium") != "Memory":
                yield f"{pods.name}: {program} has no {path} in memory"
        size = sum(quantity(s["sizeLimit"]) for s in sources.values() if s.get("medium") == "Memory" and "sizeLimit" in s)
        if size > quantity(container["resources"]["limits"]["memory"]) / 2:
            yield f"{pods.name}: volumes in memory may take {size / 2**20:.0f} MiB, more than half of its limit"


@rule
def model_is_verified(manifests, binaries):
    for pods, container, program in manifests.programs():
        commands = [c.get("command", []) for c in pods.spec.get("initContainers", [])]
        found = [c for c in commands if c[:1] == ["quire-verify-model"]]
        claims = {v["name"] for v in pods.spec.get("volumes", []) if "persistentVolumeClaim" in v}
        model = next((m["mountPath"] for m in container.get("volumeMounts", []) if m["name"] in claims), None)
        if not found or found[0][1] != model:
            yield f"{pods.name}: nobody verifies the model's files before {program} reads them"
            continue
        if manifests.flags(pods, container).get("model", model) != model:
            yield f"{pods.name}: the model's volume is at {model}, --model={manifests.flags(pods, container)['model']}"
        reads_weights = program == "worker" or manifests.flags(pods, container).get("workers", "local").startswith("local")
        if reads_weights and "--skip_weights" in found[0]:
            yield f"{pods.name}: {program} reads weights that are not verified"


@rule
def images(manifests, binaries):
    tags = set()
    for pods in manifests.pods:
        for container in pods.all_containers():
            match = re.fullmatch(r"([\w./-]+)(?::([\w.-]+))?(?:@(sha256:[0-9a-f]{64}))?", container["image"])
            if not match or not (match[3] or match[2]) or match[2] == "latest":
                yield f"{pods.name}: image {container['image']} is not pinned"
            if program_image(container):
                tags.add(container["image"])
    if len(tags) > 1:
        yield f"different images in one cluster: {sorted(tags)}; the step protocol wants one"


def program_image(container):
    return (container.get("command") or [""])[0] in ("coordinator", "worker", "quire-verify-model")


@rule
def flags_are_known(manifests, binaries):
    for pods, container, program in manifests.programs():
        arguments = manifests.arguments(pods, container)
        missing = [a for a in arguments if a.startswith("--flagfile=")]
        if missing:
            yield f"{pods.name}: {missing} is in no ConfigMap that is mounted there"
        bad = [a for a in arguments if not re.match(r"--\w+(=|$)", a)] + missing
        if bad:
            yield f"{pods.name}: {program} takes no argument {bad}"
        for error in binaries.errors(program, [a for a in arguments if a not in bad]):
            yield f"{pods.name}: {program}: {error}"

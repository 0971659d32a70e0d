"""Rules over who may call and over what the components bring: keys, certificates, scalers, scrapes, endpoint pickers. See policy.py."""
import os

from manifests import matches
from policy import EXTERNAL_SECRETS, probe_port, rule
from policy_links import listening_ports

CLUSTER_FLAGS = ("cluster_certfile", "cluster_keyfile", "cluster_ca_certs")
SECRET_FILES = {"cluster_certfile": "tls.crt", "cluster_keyfile": "tls.key", "cluster_ca_certs": "ca.crt", "ssl_certfile": "tls.crt",
                "ssl_keyfile": "tls.key", "ssl_ca_certs": "ca.crt"}
MIN_SCALE_DOWN_SECONDS = 300


def secret_of(pods, container, path):
    """Name of the Secret whose file lies at `path` in the container; None if none does."""
    for mount in container.get("volumeMounts", []):
        if os.path.dirname(path) == mount["mountPath"] and "subPath" not in mount:  # a subPath is never updated
            volume = next((v for v in pods.spec.get("volumes", []) if v["name"] == mount["name"]), {})
            return volume.get("secret", {}).get("secretName")
    return None


def dials_ranks(flags):
    return not flags.get("workers", "local:1").startswith("local:")


def certificate_of(manifests, secret):
    return next((c for c in manifests.of_kind("Certificate") if c["spec"]["secretName"] == secret), None)


@rule
def callers_are_known(manifests, binaries):
    for pods, container, _ in manifests.programs("worker"):
        flags = manifests.flags(pods, container)
        if ("allow_unauthenticated" in flags) == ("cluster_certfile" in flags):
            yield f"{pods.name}: a rank takes whoever has a certificate, or by name whom the network policy lets in"
    for pods, container, _ in manifests.programs("coordinator"):
        flags = manifests.flags(pods, container)
        if "allow_unauthenticated" in flags:
            yield f"{pods.name} serves everybody"
        path = flags.get("api_key_file")
        if path is None and "ssl_ca_certs" not in flags:
            yield f"{pods.name} listens on {flags.get('host')} and asks for no key"
        elif path is not None and secret_of(pods, container, path) not in EXTERNAL_SECRETS:
            yield f"{pods.name}: --api_key_file={path} is in no Secret that is mounted there"


@rule
def tls_files(manifests, binaries):
    """Every file of TLS comes from a certificate's Secret, by the name that cert-manager gives it."""
    for pods, container, program in manifests.programs():
        flags = manifests.flags(pods, container)
        for name, file in SECRET_FILES.items():
            if name not in flags:
                continue
            secret = secret_of(pods, container, flags[name])
            if os.path.basename(flags[name]) != file or certificate_of(manifests, secret) is None:
                yield f"{pods.name}: --{name}={flags[name]} is no {file} of a certificate's secret"
        if ("ssl_certfile" in flags) != ("ssl_keyfile" in flags):
            yield f"{pods.name}: --ssl_certfile and --ssl_keyfile go together"
        if len({f for f in CLUSTER_FLAGS if f in flags}) not in (0, 3):
            yield f"{pods.name}: {program} has some of {CLUSTER_FLAGS}, needs all"


@rule
def mutual_tls(manifests, binaries):
    """All or nobody: a coordinator with a certificate talks to no rank without one. A role's certificate comes from a CA of its own."""
    secured = set()
    for pods, container, program in manifests.programs():
        flags = manifests.flags(pods, container)
        if program == "coordinator" and not dials_ranks(flags):
            if "cluster_certfile" in flags:
                yield f"{pods.name}: ranks of --workers=local:N are reached without TLS, the coordinator refuses --cluster_certfile"
            continue
        secured.add("cluster_certfile" in flags)
        if "cluster_certfile" not in flags:
            continue
        certificate = certificate_of(manifests, secret_of(pods, container, flags["cluster_certfile"]))
        if certificate is None:
            continue  # tls_files says so
        uris = certificate["spec"].get("uris", [])
        if not any(u.startswith("spiffe://") and u.split("/")[3:4] == [program] for u in uris):
            yield f"{pods.name}: certificate {certificate['metadata']['name']} is for {uris}, not for a {program}"
        for other in manifests.of_kind("Certificate"):
            same = other["spec"]["issuerRef"] == certificate["spec"]["issuerRef"]
            if same and not any(u.startswith("spiffe://") for u in other["spec"].get("uris", [])):
                yield f"the cluster's CA signs {other['metadata']['name']}, too: who holds that is taken for a part of the cluster"
    if len(secured) > 1:
        yield "some of coordinator and ranks have cluster certificates, some have none"


@rule
def certificates(manifests, binaries):
    for certificate in manifests.of_kind("Certificate"):
        name, spec = certificate["metadata"]["name"], certificate["spec"]
        if manifests.named("Issuer", spec["issuerRef"]["name"]) is None and spec["issuerRef"]["kind"] == "Issuer":
            yield f"Certificate {name}: issuer {spec['issuerRef']['name']} does not exist"
        life, left = (float(spec[k].rstrip("h")) for k in ("duration", "renewBefore"))
        if not life / 4 <= left <= life / 2:
            yield f"Certificate {name} lives {life:.0f} h and is renewed {left:.0f} h before its end, must be a third or so"
    for issuer in manifests.of_kind("Issuer"):
        secret = issuer["spec"].get("ca", {}).get("secretName")
        if secret and not (certificate_of(manifests, secret) or {}).get("spec", {}).get("isCA"):
            yield f"Issuer {issuer['metadata']['name']} signs with {secret}, which no CA certificate fills"
    for pods, container, _ in manifests.programs("coordinator"):
        secret = secret_of(pods, container, manifests.flags(pods, container).get("ssl_certfile", ""))
        served = (certificate_of(manifests, secret) or {}).get("spec", {}).get("dnsNames", [])
        for service in manifests.services_of(pods) if secret else []:
            wanted = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
            if wanted not in served:
                yield f"{pods.name}: its certificate is for {served}, clients call {wanted}"


@rule
def probes_under_tls(manifests, binaries):
    """The kubelet's gRPC probes speak no TLS, its HTTPS probes check no certificate."""
    for pods, container, program in manifests.programs():
        flags = manifests.flags(pods, container)
        ports = listening_ports(program, flags)
        secured = set(ports.values()) - {ports.get("health")} if {"ssl_certfile", "cluster_certfile"} & set(flags) else set()
        if program == "coordinator" and "ssl_certfile" not in flags:
            secured = set()
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(name, {})
            port = probe_port(probe, container)
            if port in secured and probe.get("httpGet", {}).get("scheme") != "HTTPS":
                yield f"{pods.name}: {name} speaks clear text to a port with TLS"
            if port not in secured and probe.get("httpGet", {}).get("scheme") == "HTTPS":
                yield f"{pods.name}: {name} speaks TLS to a port without"


@rule
def autoscalers(manifests, binaries):
    for scaler in manifests.of_kind("ScaledObject"):
        name, spec = scaler["metadata"]["name"], scaler["spec"]
        target = manifests.named(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        if target is None or target["apiVersion"] != spec["scaleTargetRef"]["apiVersion"]:
            yield f"ScaledObject {name}: {spec['scaleTargetRef']} does not exist"
            continue
        if "replicas" in target["spec"]:
            yield f"ScaledObject {name}: its target sets replicas; applying the manifests again would undo the scaling"
        for pods, container, _ in manifests.programs("coordinator"):
            if pods.owner is target and pods.role == "pod" and dials_ranks(manifests.flags(pods, container)):
                yield f"ScaledObject {name}: two coordinators would dial the same ranks"
        if not 0 < spec["minReplicaCount"] < spec["maxReplicaCount"]:
            yield f"ScaledObject {name}: from {spec['minReplicaCount']} to {spec['maxReplicaCount']} replicas"
        down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        if down["stabilizationWindowSeconds"] < MIN_SCALE_DOWN_SECONDS:
            yield f"ScaledObject {name}: scales down after {down['stabilizationWindowSeconds']} s, must be {MIN_SCALE_DOWN_SECONDS} at least"
        for trigger in spec["triggers"]:
            if "quire_num_requests_waiting" not in trigger["metadata"]["query"]:
                yield f"ScaledObject {name} does not scale by the requests that wait"


@rule
def scrapes(manifests, binaries):
    """What Prometheus is told to scrape is there, named, let through the network policies, and by the scheme that is spoken."""
    for monitor in manifests.of_kind("ServiceMonitor"):
        name = monitor["metadata"]["name"]
        services = [s for s in manifests.of_kind("Service") if matches(monitor["spec"]["selector"], s["metadata"].get("labels", {}))]
        if not services:
            yield f"ServiceMonitor {name} selects no Service"
        for service in services:
            targets = manifests.selected({"matchLabels": service["spec"]["selector"]})
            for endpoint in monitor["spec"]["endpoints"]:
                if endpoint["port"] not in {p["name"] for p in service["spec"]["ports"]}:
                    yield f"ServiceMonitor {name}: Service {service['metadata']['name']} has no port {endpoint['port']}"
                yield from scheme_findings(manifests, name, endpoint, targets)
            for pods in targets:
                admitted = [r for p in manifests.policies_of(pods) for r in p["spec"].get("ingress", []) for f in r.get("from", [])
                            if f.get("namespaceSelector", {}).get("matchLabels") == {"kubernetes.io/metadata.name": "monitoring"}]
                if not admitted:
                    yield f"ServiceMonitor {name}: network policies keep Prometheus from {pods.name}"


def scheme_findings(manifests, name, endpoint, targets):
    for pods, container, _ in manifests.programs("coordinator"):
        scheme = "https" if "ssl_certfile" in manifests.flags(pods, container) else "http"
        if pods in targets and endpoint.get("scheme", "http") != scheme:
            yield f"ServiceMonitor {name}: {pods.name} speaks {scheme}"


@rule
def endpoint_pickers(manifests, binaries):
    for pool in manifests.of_kind("InferencePool"):
        name, spec = pool["metadata"]["name"], pool["spec"]
        for pods in manifests.selected(spec["selector"]):
            for container in pods.containers:
                ports = listening_ports("coordinator", manifests.flags(pods, container))
                if [p["number"] for p in spec["targetPorts"]] != [ports.get("http")]:
                    yield f"InferencePool {name}: target ports {spec['targetPorts']}, {pods.name} speaks HTTP on {ports.get('http')}"
        reference = spec["endpointPickerRef"]
        service = manifests.named("Service", reference["name"])
        if service is None or reference["port"]["number"] not in {p["port"] for p in service["spec"]["ports"]}:
            yield f"InferencePool {name}: picker {reference['name']}:{reference['port']['number']} does not exist"
            continue
        for pods in manifests.selected({"matchLabels": service["spec"]["selector"]}):
            arguments = [a for c in pods.containers for a in c.get("args", [])]
            if f"--pool-name={name}" not in arguments:
                yield f"{pods.name} does not pick for InferencePool {name}"
            for argument in arguments:
                if "-metric=" in argument and not argument.endswith("=") and "=quire_" not in argument:
                    yield f"{pods.name}: {argument} is no metric of ours"
            if manifests.named("RoleBinding", pods.spec["serviceAccountName"]) is None:
                yield f"{pods.name} may not watch its pool"

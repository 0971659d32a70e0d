"""Rules over objects that name one another: ports, selectors, addresses, budgets, scalers, certificates. See policy.py for what a rule is."""
import re

from manifests import matches, program_of
from policy import probe_port, rule

DEFAULT_LISTEN = "127.0.0.1:7001"


def listening_ports(program, flags):
    """Ports of a program by its flags, by the name that a container port must have."""
    if program == "worker":
        ports = {"session": int(flags.get("listen", DEFAULT_LISTEN).rpartition(":")[2])}
        if "health_listen" in flags:
            ports["health"] = int(flags["health_listen"].rpartition(":")[2])
        return ports
    ports = {"grpc": int(flags.get("grpc_port", 50051))}
    if "port" in flags:
        ports["http"] = int(flags["port"])
    return ports


def allowed_ports(policies, direction):
    """Ports that some rule allows; None stands for every port."""
    found = set()
    for policy in policies:
        for allow in policy["spec"].get(direction, []):
            found |= {p["port"] for p in allow["ports"]} if allow.get("ports") else {None}
    return found


@rule
def ports(manifests, binaries):
    for pods, container, program in manifests.programs():
        wanted = listening_ports(program, manifests.flags(pods, container))
        declared = {p.get("name"): p["containerPort"] for p in container.get("ports", [])}
        if declared != wanted:
            yield f"{pods.name}: {program} listens on {wanted}, the container declares {declared}"
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            if name in container and probe_port(container[name], container) not in wanted.values():
                yield f"{pods.name}: {name} asks port {probe_port(container[name], container)}, {program} listens on {wanted}"
        open_ports = allowed_ports(manifests.policies_of(pods), "ingress") - {None}
        offered = {port for name, port in wanted.items() if name != "health"}  # the kubelet needs no policy
        if open_ports != offered:
            yield f"{pods.name}: network policies open {sorted(open_ports)}, {program} offers {sorted(offered)}"
        for service in manifests.services_of(pods):
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                if target not in declared and target not in declared.values():
                    yield f"Service {service['metadata']['name']}: target port {target} is none of {pods.name}'s {declared}"


@rule
def listen_addresses(manifests, binaries):
    """Nobody reaches a program that listens on loopback only."""
    for pods, container, program in manifests.programs():
        flags = manifests.flags(pods, container)
        host = flags.get("listen", DEFAULT_LISTEN).rpartition(":")[0] if program == "worker" else flags.get("host", "127.0.0.1")
        if host != "0.0.0.0":
            yield f"{pods.name}: {program} listens on {host}, which no other pod can reach"


@rule
def selectors(manifests, binaries):
    for pods in manifests.pods:
        if pods.role == "pod":
            hits = manifests.selected(pods.owner["spec"]["selector"])
            if [h.owner for h in hits] != [pods.owner]:
                yield f"{pods.name}: its selector means {[h.name for h in hits]}"
    for kind, selector_of in (("Service", lambda s: {"matchLabels": s["selector"]} if "selector" in s else None),
                              ("PodDisruptionBudget", lambda s: s["selector"]),
                              ("NetworkPolicy", lambda s: s["podSelector"]),
                              ("InferencePool", lambda s: s["selector"])):
        for obj in manifests.of_kind(kind):
            selector = selector_of(obj["spec"])
            if selector is not None and not manifests.selected(selector):
                yield f"{kind} {obj['metadata']['name']} selects no pod"


@rule
def names(manifests, binaries):
    seen = set()
    cluster_wide = ("Namespace", "ClusterRole", "ClusterRoleBinding")
    for obj in manifests.objects:
        key = (obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
        if key in seen:
            yield f"{key[1]} {key[2]} twice"
        seen.add(key)
        if obj["kind"] not in cluster_wide and obj["metadata"].get("namespace") is None:
            yield f"{key[1]} {key[2]} has no namespace"


@rule
def default_deny(manifests, binaries):
    for policy in manifests.of_kind("NetworkPolicy"):
        spec = policy["spec"]
        if spec["podSelector"] == {} and set(spec["policyTypes"]) == {"Ingress", "Egress"} and "ingress" not in spec and "egress" not in spec:
            return
    yield "no network policy denies what the others do not allow"


@rule
def policies_are_narrow(manifests, binaries):
    for policy in manifests.of_kind("NetworkPolicy"):
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for allow in policy["spec"].get(direction, []):
                peers = allow.get(side)
                within = peers and all(p.get("podSelector", {}).get("matchLabels") and "namespaceSelector" not in p for p in peers)
                if not peers and not allow.get("ports"):
                    yield f"NetworkPolicy {policy['metadata']['name']} allows all {direction}"
                elif not allow.get("ports") and not within:
                    yield f"NetworkPolicy {policy['metadata']['name']}: {direction} on every port, and not only for pods of one kind"
                elif direction == "ingress" and not peers:
                    yield f"NetworkPolicy {policy['metadata']['name']}: ingress from everywhere"


@rule
def ranks_are_reachable(manifests, binaries):
    """Both ends of the session, and ranks among themselves, pass the network policies."""
    for pods, container, _ in manifests.programs("coordinator"):
        if manifests.flags(pods, container).get("workers", "local:1").startswith("local:"):
            continue
        for ranks, rank_container, _ in manifests.programs("worker"):
            port = listening_ports("worker", manifests.flags(ranks, rank_container))["session"]
            if not passes(manifests, pods, ranks, port):
                yield f"network policies keep {pods.name} from port {port} of {ranks.name}"
            if not passes(manifests, ranks, ranks, None):
                yield f"network policies keep the ranks of {ranks.name} from one another"


def passes(manifests, source, target, port):
    def allows(policy, direction, side, peer_labels):
        for allow in policy["spec"].get(direction, []):
            peer = any("podSelector" in p and matches(p["podSelector"], peer_labels) for p in allow.get(side, []))
            if peer and (not allow.get("ports") or port in {p["port"] for p in allow["ports"]}):
                return True
        return False

    return (any(allows(p, "egress", "to", target.labels) for p in manifests.policies_of(source)) and
            any(allows(p, "ingress", "from", source.labels) for p in manifests.policies_of(target)))


@rule
def rank_addresses(manifests, binaries):
    """--workers names exactly the pods that there are, in rank order."""
    dialed = 0
    for pods, container, _ in manifests.programs("coordinator"):
        workers = manifests.flags(pods, container).get("workers", "local:1")
        if workers.startswith("local:"):
            gpus = container["resources"].get("limits", {}).get("nvidia.com/gpu")
            if gpus is not None and workers != f"local:{gpus}":
                yield f"{pods.name}: --workers={workers} with {gpus} GPUs"
            continue
        dialed += 1
        expected = group_addresses(manifests, pods) if pods.role == "leader" else set_addresses(manifests)
        if workers.split(",") != expected:
            yield f"{pods.name}: dials {workers.split(',')}, the ranks are {expected}"
    if manifests.programs("worker") and not dialed:
        yield "there are worker pods that no coordinator dials"


def group_addresses(manifests, pods):
    group = pods.owner["spec"]["leaderWorkerTemplate"]
    worker = next(((p, c) for p, c, _ in manifests.programs("worker") if p.owner is pods.owner), None)
    if worker is None:
        return []
    port = listening_ports("worker", manifests.flags(*worker))["session"]
    return [f"$(POD_NAME)-{i}.{pods.owner['metadata']['name']}:{port}" for i in range(1, group["size"])]


def set_addresses(manifests):
    found = []
    for pods, container, _ in manifests.programs("worker"):
        service = manifests.named("Service", pods.owner["spec"].get("serviceName"))
        if service is None or service["spec"].get("clusterIP") != "None" or not service["spec"].get("publishNotReadyAddresses"):
            return ["(the StatefulSet's Service must be headless and publish pods that are not ready)"]
        port = listening_ports("worker", manifests.flags(pods, container))["session"]
        found += [f"{pods.owner['metadata']['name']}-{i}.{service['metadata']['name']}:{port}" for i in range(pods.count)]
    return found


@rule
def gpus_are_used(manifests, binaries):
    for pods, container, program in manifests.programs():
        gpus = container["resources"].get("limits", {}).get("nvidia.com/gpu")
        flag = "device" if program == "worker" else "worker_device"
        device = manifests.flags(pods, container).get(flag, "cpu")
        if (gpus is not None) != (device == "cuda"):
            yield f"{pods.name}: {program} has {gpus or 'no'} GPUs and computes with --{flag}={device}"


@rule
def group_environment(manifests, binaries):
    """$(NAME) in arguments is replaced only if the container defines NAME."""
    for pods, container, program in manifests.programs():
        defined = {e["name"] for e in container.get("env", [])}
        for name in re.findall(r"\$\((\w+)\)", " ".join(container.get("args", []))):
            if name not in defined:
                yield f"{pods.name}: {program}: $({name}) is not defined"


@rule
def one_coordinator(manifests, binaries):
    """Ranks belong to one coordinator: two that dial the same ones would take them from each other."""
    for pods, container, _ in manifests.programs("coordinator"):
        dials = not manifests.flags(pods, container).get("workers", "local:1").startswith("local:")
        if dials and pods.role == "pod" and (pods.count != 1 or pods.owner["spec"].get("strategy") != {"type": "Recreate"}):
            yield f"{pods.name} dials ranks: must be one replica and Recreate"


@rule
def lost_ranks(manifests, binaries):
    for obj in manifests.of_kind("LeaderWorkerSet"):
        if obj["spec"]["leaderWorkerTemplate"].get("restartPolicy") != "None":
            yield f"LeaderWorkerSet {obj['metadata']['name']}: a lost rank must not restart the coordinator and lose its streams"


@rule
def disruption_budgets(manifests, binaries):
    budgets = manifests.of_kind("PodDisruptionBudget")
    for budget in budgets:
        pods = manifests.selected(budget["spec"]["selector"])
        most = sum(max(p.count, scaled_to(manifests, p.owner)) for p in pods)
        allowed = budget["spec"].get("maxUnavailable")
        if not isinstance(allowed, int) or not 0 < allowed < most:
            yield f"PodDisruptionBudget {budget['metadata']['name']}: maxUnavailable {allowed} of {most} pods; must let a drain go on and keep one"
    for pods, _, program in manifests.programs():
        if pods.count > 1 and not any(matches(b["spec"]["selector"], pods.labels) for b in budgets):
            yield f"{pods.name}: {pods.count} pods without a disruption budget"


def scaled_to(manifests, owner):
    """Most replicas that an autoscaler may make of the object; 0 if there is none."""
    for scaler in manifests.of_kind("ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target.get("kind", "Deployment"), target["name"]) == (owner["kind"], owner["metadata"]["name"]):
            return scaler["spec"]["maxReplicaCount"]
    return 0


@rule
def spread(manifests, binaries):
    for pods, _, program in manifests.programs("coordinator"):
        spreads = pods.spec.get("topologySpreadConstraints", [])
        if not any(s["topologyKey"] == "kubernetes.io/hostname" and matches(s.get("labelSelector"), pods.labels) for s in spreads):
            yield f"{pods.name}: nothing spreads {program} pods over hosts"


@rule
def ranks_are_near(manifests, binaries):
    for pods, _, _ in manifests.programs("worker"):
        terms = [t["podAffinityTerm"] for t in pods.spec.get("affinity", {}).get("podAffinity", {})
                 .get("preferredDuringSchedulingIgnoredDuringExecution", [])]
        zone = [t for t in terms if t["topologyKey"] == "topology.kubernetes.io/zone" and matches(t["labelSelector"], pods.labels)]
        if not zone:
            yield f"{pods.name}: nothing keeps ranks of a group within one zone"
        elif pods.role == "worker" and zone[0].get("matchLabelKeys") != ["leaderworkerset.sigs.k8s.io/group-key"]:
            yield f"{pods.name}: ranks are drawn to other groups', not to their own"


@rule
def every_pod_is_known(manifests, binaries):
    """A pod that runs neither program is a helper of a component and must say so."""
    for pods in manifests.pods:
        if not any(program_of(c) for c in pods.containers) and pods.labels.get("app.kubernetes.io/part-of") != "quire":
            yield f"{pods.name} runs neither program and is not labelled as a part of quire"

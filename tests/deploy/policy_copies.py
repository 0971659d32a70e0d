"""For each rule of policy.py and policy_links.py at least one bad copy of a rendering, which it must find."""
import copy


def find(objects, kind, name):
    """The object of that name, else the first whose name begins so: generated names have a hash behind."""
    named = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].startswith(name)]
    return next((o for o in named if o["metadata"]["name"] == name), named[0])


def template(objects, kind="Deployment", name="quire-coordinator"):
    return find(objects, kind, name)["spec"]["template"]


def container(objects, kind="Deployment", name="quire-coordinator"):
    return template(objects, kind, name)["spec"]["containers"][0]


def volume(objects, name):
    return next(v for v in template(objects)["spec"]["volumes"] if v["name"] == name)


def mount(objects, name):
    return next(m for m in container(objects)["volumeMounts"] if m["name"] == name)


def ranks(objects):
    return template(objects, "StatefulSet", "quire-worker")


def group(objects):
    return find(objects, "LeaderWorkerSet", "quire-group")["spec"]["leaderWorkerTemplate"]


def rank_of_group(objects):
    return group(objects)["workerTemplate"]["spec"]["containers"][0]


def flag(objects, program, old, new):
    data = find(objects, "ConfigMap", "quire-flags")["data"]
    assert old in data[program + ".flags"], old
    data[program + ".flags"] = data[program + ".flags"].replace(old, new)


def put(node, *path):
    """put(node, "a", "b", value): node["a"]["b"] = value."""
    *steps, last, value = path
    for step in steps:
        node = node[step]
    node[last] = value


def drop(node, *path):
    *steps, last = path
    for step in steps:
        node = node[step]
    del node[last]


# (rule, rendering, what is spoilt)
BAD_COPIES = [
    ("probes", "base", lambda o: drop(container(o), "startupProbe")),
    ("probes", "base", lambda o: put(container(o), "livenessProbe", "grpc", "service", "ready")),
    ("probes", "base", lambda o: put(container(o), "readinessProbe", "grpc", "service", "")),
    ("probes", "base", lambda o: put(container(o), "readinessProbe", "failureThreshold", 3)),
    ("probes", "gpu-tp-lws", lambda o: drop(rank_of_group(o), "readinessProbe")),
    ("start_time", "base", lambda o: put(container(o), "startupProbe", "failureThreshold", 3)),
    ("drain_time", "base", lambda o: put(template(o), "spec", "terminationGracePeriodSeconds", 45)),
    ("drain_time", "base", lambda o: flag(o, "coordinator", "shutdown_timeout=30s", "shutdown_timeout=2m")),
    ("drain_time", "base", lambda o: drop(container(o), "lifecycle")),
    ("drain_time", "base", lambda o: put(ranks(o), "spec", "containers", 0, "lifecycle", "preStop", "sleep", "seconds", 20)),
    ("drain_time", "base", lambda o: put(ranks(o), "spec", "terminationGracePeriodSeconds", 45)),
    ("resources", "base", lambda o: put(container(o), "resources", "limits", "memory", "2Gi")),
    ("resources", "base", lambda o: drop(ranks(o), "spec", "initContainers", 0, "resources")),
    ("resources", "gpu-single", lambda o: drop(container(o), "resources", "requests", "nvidia.com/gpu")),
    ("rights", "base", lambda o: put(template(o), "spec", "securityContext", "runAsUser", 0)),
    ("rights", "base", lambda o: put(template(o), "spec", "securityContext", "runAsUser", 1000)),
    ("rights", "base", lambda o: drop(template(o), "spec", "securityContext", "seccompProfile")),
    ("rights", "base", lambda o: drop(template(o), "spec", "enableServiceLinks")),
    ("rights", "base", lambda o: put(template(o), "spec", "hostNetwork", True)),
    ("rights", "base", lambda o: put(container(o), "securityContext", "readOnlyRootFilesystem", False)),
    ("rights", "base", lambda o: drop(ranks(o), "spec", "initContainers", 0, "securityContext")),
    ("rights", "gpu-tp-lws", lambda o: put(rank_of_group(o), "securityContext", "capabilities", "drop", ["NET_RAW"])),
    ("added_capabilities", "base", lambda o: put(container(o), "securityContext", "capabilities", "add", ["SYS_PTRACE"])),
    ("added_capabilities", "rdma", lambda o: drop(rank_of_group(o), "securityContext", "capabilities", "add")),
    ("added_capabilities", "base", lambda o: put(find(o, "Namespace", "quire"), "metadata", "labels", {})),
    ("api_token", "base", lambda o: drop(template(o), "spec", "automountServiceAccountToken")),
    ("api_token", "base", lambda o: put(template(o), "spec", "serviceAccountName", "quier")),
    ("volumes", "base", lambda o: put(volume(o, "flags"), "name", "flag")),
    ("volumes", "base", lambda o: put(volume(o, "flags"), "configMap", "name", "quire-flags")),
    ("volumes", "base", lambda o: put(volume(o, "tmp"), "emptyDir", {})),
    ("volumes", "base", lambda o: put(volume(o, "model"), "persistentVolumeClaim", "claimName", "model")),
    ("volumes", "base", lambda o: drop(mount(o, "model"), "readOnly")),
    ("volumes", "base", lambda o: put(volume(o, "keys"), "secret", "secretName", "keys")),
    ("memory_volumes", "base", lambda o: put(volume(o, "tmp"), "emptyDir", {"sizeLimit": "64Mi"})),
    ("memory_volumes", "base", lambda o: put(volume(o, "tmp"), "emptyDir", "sizeLimit", "1Gi")),
    ("memory_volumes", "gpu-single", lambda o: container(o)["volumeMounts"].remove(mount(o, "shm"))),
    ("model_is_verified", "base", lambda o: drop(ranks(o), "spec", "initContainers")),
    ("model_is_verified", "base", lambda o: put(ranks(o), "spec", "initContainers", 0, "command", 1, "/models/other")),
    ("model_is_verified", "gpu-single", lambda o: template(o)["spec"]["initContainers"][0]["command"].append("--skip_weights")),
    ("model_is_verified", "base", lambda o: flag(o, "coordinator", "--model=/models/model", "--model=/models")),
    ("images", "base", lambda o: put(container(o), "image", "quire")),
    ("images", "base", lambda o: put(container(o), "image", "quire:latest")),
    ("images", "base", lambda o: put(container(o), "image", "quire:0.0.1")),
    ("flags_are_known", "base", lambda o: flag(o, "coordinator", "--grpc_port", "--grpc-port")),
    ("flags_are_known", "base", lambda o: flag(o, "coordinator", "--shutdown_timeout=30s", "--shutdown_timout=30s")),
    ("flags_are_known", "cpu-local", lambda o: flag(o, "coordinator", "--max_num_seqs=32", "--max_num_seqs=many")),
    ("flags_are_known", "base", lambda o: put(container(o), "args", ["--flagfile=/etc/quire/coordinater.flags"])),
    ("flags_are_known", "base", lambda o: put(ranks(o), "spec", "containers", 0, "args", 0, "--flagfile=/etc/quire/coordinator.flags")),
    ("ports", "base", lambda o: flag(o, "coordinator", "50051", "50052")),
    ("ports", "base", lambda o: put(container(o), "ports", 0, "containerPort", 50052)),
    ("ports", "base", lambda o: put(container(o), "livenessProbe", "grpc", "port", 50052)),
    ("ports", "base", lambda o: put(find(o, "Service", "quire"), "spec", "ports", 0, "targetPort", 50052)),
    ("ports", "base", lambda o: put(find(o, "NetworkPolicy", "quire-coordinator"), "spec", "ingress", 0, "ports", 0, "port", 50052)),
    ("listen_addresses", "base", lambda o: flag(o, "coordinator", "--host=0.0.0.0", "--host=127.0.0.1")),
    ("selectors", "base", lambda o: put(template(o), "metadata", "labels", "app.kubernetes.io/component", "frontend")),
    ("selectors", "base", lambda o: drop(find(o, "StatefulSet", "quire"), "spec", "selector", "matchLabels", "app.kubernetes.io/component")),
    ("selectors", "base", lambda o: put(find(o, "PodDisruptionBudget", "quire"), "spec", "selector", "matchLabels", "app", "quire")),
    ("names", "base", lambda o: o.append(copy.deepcopy(find(o, "Service", "quire")))),
    ("names", "base", lambda o: drop(find(o, "Service", "quire"), "metadata", "namespace")),
    ("default_deny", "base", lambda o: o.remove(find(o, "NetworkPolicy", "quire-default-deny"))),
    ("policies_are_narrow", "base", lambda o: put(find(o, "NetworkPolicy", "quire-default-deny"), "spec", "ingress", [{}])),
    ("policies_are_narrow", "base", lambda o: drop(find(o, "NetworkPolicy", "quire-coordinator"), "spec", "ingress", 0, "from")),
    ("policies_are_narrow", "base", lambda o: drop(find(o, "NetworkPolicy", "quire-coordinator"), "spec", "ingress", 0, "ports")),
    ("ranks_are_reachable", "base", lambda o: drop(find(o, "NetworkPolicy", "quire-coordinator"), "spec", "egress")),
    ("ranks_are_reachable", "base", lambda o: drop(find(o, "NetworkPolicy", "quire-worker"), "spec", "ingress", 1)),
    ("rank_addresses", "base", lambda o: put(find(o, "StatefulSet", "quire-worker"), "spec", "replicas", 3)),
    ("rank_addresses", "base", lambda o: drop(find(o, "Service", "quire-worker"), "spec", "publishNotReadyAddresses")),
    ("rank_addresses", "gpu-tp-lws", lambda o: put(group(o), "size", 4)),
    ("rank_addresses", "gpu-single", lambda o: flag(o, "coordinator", "local:1", "local:2")),
    ("gpus_are_used", "gpu-single", lambda o: flag(o, "coordinator", "--worker_device=cuda\n", "")),
    ("gpus_are_used", "gpu-tp-lws", lambda o: drop(rank_of_group(o), "resources", "limits", "nvidia.com/gpu")),
    ("group_environment", "gpu-tp-lws", lambda o: drop(group(o), "leaderTemplate", "spec", "containers", 0, "env")),
    ("one_coordinator", "base", lambda o: put(find(o, "Deployment", "quire-coordinator"), "spec", "replicas", 2)),
    ("one_coordinator", "base", lambda o: drop(find(o, "Deployment", "quire-coordinator"), "spec", "strategy")),
    ("lost_ranks", "gpu-tp-lws", lambda o: put(group(o), "restartPolicy", "RecreateGroupOnPodRestart")),
    ("disruption_budgets", "base", lambda o: put(find(o, "PodDisruptionBudget", "quire"), "spec", "maxUnavailable", 0)),
    ("disruption_budgets", "base", lambda o: put(find(o, "PodDisruptionBudget", "quire"), "spec", "maxUnavailable", 2)),
    ("disruption_budgets", "base", lambda o: o.remove(find(o, "PodDisruptionBudget", "quire"))),
    ("spread", "base", lambda o: drop(template(o), "spec", "topologySpreadConstraints")),
    ("ranks_are_near", "base", lambda o: drop(ranks(o), "spec", "affinity")),
    ("ranks_are_near", "gpu-tp-lws", lambda o: drop(group(o), "workerTemplate", "spec", "affinity", "podAffinity",
                                                    "preferredDuringSchedulingIgnoredDuringExecution", 0, "podAffinityTerm", "matchLabelKeys")),
    ("every_pod_is_known", "base", lambda o: put(container(o), "command", ["python3"])),
]

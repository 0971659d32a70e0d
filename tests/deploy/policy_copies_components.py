"""Bad copies for the rules of policy_components.py. See policy_copies.py."""
from policy_copies import container, drop, find, flag, group, put, rank_of_group, template


def replace_argument(objects_container, old, new):
    arguments = objects_container["args"]
    assert any(old in a for a in arguments), old
    objects_container["args"] = [a.replace(old, new) for a in arguments]


def certificate(objects, name):
    return find(objects, "Certificate", name)["spec"]


ALL = "gpu-single, all"
TLS = "base, tls"
GROUPS = "gpu-tp-lws, all"
POOL = "gpu-tp-lws, pool"

BAD_COPIES = [
    ("callers_are_known", "base", lambda o: flag(o, "coordinator", "--api_key_file=/etc/quire-keys/api_keys\n", "")),
    ("callers_are_known", "base", lambda o: flag(o, "coordinator", "--api_key_file", "--allow_unauthenticated\n--api_key_file")),
    ("callers_are_known", "base", lambda o: flag(o, "coordinator", "/etc/quire-keys/", "/etc/quire/")),
    ("callers_are_known", "base", lambda o: container(o, "StatefulSet", "quire-worker")["args"].pop()),
    ("callers_are_known", TLS, lambda o: container(o, "StatefulSet", "quire-worker")["args"].append("--allow_unauthenticated")),
    ("tls_files", TLS, lambda o: replace_argument(container(o), "/etc/quire-server-tls/tls.crt", "/etc/quire-server-tls/server.crt")),
    ("tls_files", TLS, lambda o: replace_argument(container(o), "/etc/quire-server-tls/tls.key", "/etc/quire-keys/tls.key")),
    ("tls_files", TLS, lambda o: replace_argument(container(o), "--ssl_keyfile", "--ssl_ca_certs")),
    ("tls_files", TLS, lambda o: replace_argument(container(o), "--cluster_ca_certs=/etc/quire-cluster-tls/ca.crt", "--max_num_seqs=8")),
    ("mutual_tls", TLS, lambda o: put(certificate(o, "quire-worker"), "uris", ["spiffe://quire/coordinator"])),
    ("mutual_tls", TLS, lambda o: put(certificate(o, "quire-server"), "issuerRef", "name", "quire-cluster-ca")),
    ("mutual_tls", TLS, lambda o: flag(o, "coordinator", "--workers=", "--workers=local:1\n--served_model_name=")),
    ("mutual_tls", GROUPS, lambda o: put(rank_of_group(o), "args", ["--flagfile=/etc/quire/worker.flags"])),
    ("certificates", TLS, lambda o: o.remove(find(o, "Issuer", "quire-cluster-ca"))),
    ("certificates", TLS, lambda o: put(certificate(o, "quire-server"), "renewBefore", "1h")),
    ("certificates", TLS, lambda o: put(certificate(o, "quire-server-ca"), "isCA", False)),
    ("certificates", TLS, lambda o: put(certificate(o, "quire-server"), "dnsNames", ["quire.example.org"])),
    ("probes_under_tls", TLS, lambda o: put(container(o), "livenessProbe", {"grpc": {"port": 50051, "service": ""}})),
    ("probes_under_tls", TLS, lambda o: put(container(o), "livenessProbe", "httpGet", "scheme", "HTTP")),
    ("probes_under_tls", TLS, lambda o: put(container(o, "StatefulSet", "quire-worker"), "livenessProbe", "grpc", "port", 7001)),
    ("probes_under_tls", "base", lambda o: put(container(o), "livenessProbe", {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTPS"}})),
    ("autoscalers", ALL, lambda o: put(find(o, "ScaledObject", "quire"), "spec", "scaleTargetRef", "name", "quire")),
    ("autoscalers", ALL, lambda o: put(find(o, "Deployment", "quire-coordinator"), "spec", "replicas", 1)),
    ("autoscalers", ALL, lambda o: flag(o, "coordinator", "local:1", "10.0.0.1:7001")),
    ("autoscalers", ALL, lambda o: put(find(o, "ScaledObject", "quire"), "spec", "maxReplicaCount", 1)),
    ("autoscalers", GROUPS, lambda o: put(find(o, "ScaledObject", "quire"), "spec", "triggers", 0, "metadata", "query", "vllm:num_requests_waiting")),
    ("autoscalers", GROUPS, lambda o: put(find(o, "ScaledObject", "quire"), "spec", "advanced", "horizontalPodAutoscalerConfig", "behavior",
                                          "scaleDown", "stabilizationWindowSeconds", 60)),
    ("scrapes", ALL, lambda o: put(find(o, "ServiceMonitor", "quire"), "spec", "endpoints", 0, "port", "metrics")),
    ("scrapes", ALL, lambda o: put(find(o, "ServiceMonitor", "quire"), "spec", "selector", "matchLabels", {"app": "quire"})),
    ("scrapes", ALL, lambda o: drop(find(o, "ServiceMonitor", "quire"), "spec", "endpoints", 0, "scheme")),
    ("scrapes", ALL, lambda o: o.remove(find(o, "NetworkPolicy", "quire-scrape"))),
    ("endpoint_pickers", POOL, lambda o: put(find(o, "InferencePool", "quire"), "spec", "targetPorts", 0, "number", 50051)),
    ("endpoint_pickers", POOL, lambda o: put(find(o, "InferencePool", "quire"), "spec", "endpointPickerRef", "port", "number", 9003)),
    ("endpoint_pickers", POOL, lambda o: replace_argument(container(o, name="quire-picker"), "--pool-name=quire", "--pool-name=vllm")),
    ("endpoint_pickers", POOL, lambda o: replace_argument(container(o, name="quire-picker"), "=quire_kv_cache", "=vllm:kv_cache")),
    ("endpoint_pickers", POOL, lambda o: o.remove(find(o, "RoleBinding", "quire-picker"))),
    # Rules of policy.py and policy_links.py over what components bring.
    ("volumes", TLS, lambda o: o.remove(find(o, "Certificate", "quire-server"))),
    ("api_token", POOL, lambda o: o.remove(find(o, "RoleBinding", "quire-picker"))),
    ("policies_are_narrow", POOL, lambda o: drop(find(o, "NetworkPolicy", "quire-picker"), "spec", "ingress", 0, "from")),
    ("disruption_budgets", ALL, lambda o: put(find(o, "PodDisruptionBudget", "quire-coordinator"), "spec", "maxUnavailable", 4)),
    ("selectors", POOL, lambda o: put(find(o, "InferencePool", "quire"), "spec", "selector", "matchLabels", {"app": "vllm"})),
    ("ports", ALL, lambda o: flag(o, "coordinator", "--port=8000", "--port=8080")),
    ("one_coordinator", TLS, lambda o: put(find(o, "Deployment", "quire-coordinator"), "spec", "replicas", 2)),
    ("lost_ranks", GROUPS, lambda o: put(group(o), "restartPolicy", "RecreateGroupOnPodRestart")),
    ("rights", POOL, lambda o: drop(template(o, name="quire-picker"), "spec", "securityContext", "runAsNonRoot")),
]

"""Renders the part of kustomize that deploy/ uses, where no kubectl is at hand. Debian 12 has none that knows components.

Whatever is not written here is an error, never ignored. kustomize_test.py compares the result with the real `kubectl kustomize`, to the last
list order, on every machine that has one.

    python3 tests/deploy/kustomize.py DIR [COMPONENT_DIR...]     prints the objects as YAML
"""
import copy
import hashlib
import json
import os
import re
import sys

import yaml

# How strategic merge finds the list entry that an entry of the patch means: field -> key. A list that is not here is replaced.
MERGE_KEYS = {"containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath",
              "ports": "containerPort", "imagePullSecrets": "name", "topologySpreadConstraints": "topologyKey"}
# Kinds of which the API server knows no fields by type here: kustomize merges their patches as plain JSON.
CUSTOM_GROUPS = re.compile(r"(x-k8s\.io|monitoring\.coreos\.com|keda\.sh|cert-manager\.io|inference\.networking)")
CLUSTER_KINDS = ("Namespace", "ClusterRole", "ClusterRoleBinding", "PersistentVolume", "CustomResourceDefinition")
KNOWN_FIELDS = {"apiVersion", "kind", "namespace", "resources", "components", "configMapGenerator", "generatorOptions", "patches", "images",
                "configurations", "labels", "replicas"}
HASH_LETTERS = str.maketrans("013ae", "ghkmt")  # kustomize writes no character twice that looks like another


class RenderError(Exception):
    """What is wrong in a kustomization, with its file."""


def documents(path):
    with open(path, encoding="utf-8") as file:
        return [d for d in yaml.safe_load_all(file) if d is not None]


def identity(obj):
    group = obj["apiVersion"].rpartition("/")[0]
    return group, obj["kind"], obj["metadata"]["name"]


def name_hash(obj):
    """The suffix that kustomize gives a generated ConfigMap."""
    content = {"kind": "ConfigMap", "name": "", "data": obj.get("data", {})}  # 5.5 looks the name up wrongly and finds none
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(char, code)
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(HASH_LETTERS)


def merge(target, patch, typed):
    """Strategic merge of `patch` into `target`; plain JSON merge (RFC 7396) if not typed."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value, typed)
        elif isinstance(value, list) and isinstance(target.get(key), list) and typed and key in MERGE_KEYS:
            target[key] = merge_list(target[key], value, MERGE_KEYS[key])
        else:
            target[key] = copy.deepcopy(value)


def merge_list(old, new, key):
    if not all(isinstance(e, dict) and key in e for e in old + new):
        return copy.deepcopy(new)
    rest = {e[key]: e for e in old}
    first = []
    for entry in new:
        if entry.get("$patch") == "delete":
            rest.pop(entry[key], None)
            continue
        mine = rest.pop(entry[key], {})
        if "emptyDir" in entry and "emptyDir" in mine:
            mine = {**mine, "emptyDir": {**mine["emptyDir"]}}
        merge(mine, entry, True)
        first.append(mine)
    return first + list(rest.values())


def json_patch(obj, operations, where):
    """RFC 6902, of which add, replace, remove and test are known."""
    for operation in operations:
        path = [p.replace("~1", "/").replace("~0", "~") for p in operation["path"].split("/")[1:]]
        parent = obj
        try:
            for step in path[:-1]:
                parent = parent[int(step)] if isinstance(parent, list) else parent[step]
            last, op = path[-1], operation["op"]
            if isinstance(parent, list) and last != "-":
                last = int(last)
            exists = last in parent if isinstance(parent, dict) else isinstance(last, int) and last < len(parent)
            if op in ("replace", "remove", "test") and not exists:
                raise KeyError(last)
            if op == "remove":
                del parent[last]
            elif op == "test":
                if parent[last] != operation["value"]:
                    raise KeyError(last)
            elif op not in ("add", "replace"):
                raise RenderError(f"{where}: operation {op} is not known here")
            elif last == "-":
                parent.append(copy.deepcopy(operation["value"]))
            elif isinstance(parent, list) and op == "add":
                parent.insert(last, copy.deepcopy(operation["value"]))
            else:
                parent[last] = copy.deepcopy(operation["value"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise RenderError(f"{where}: {operation['op']} {operation['path']} of {identity(obj)}: no such place ({error})") from error


def is_target(obj, target):
    """Whether a patch's target means the object; patterns are whole names."""
    unknown = set(target) - {"group", "version", "kind", "name", "labelSelector"}
    if unknown:
        raise RenderError(f"target {sorted(unknown)} is not known here")
    group, kind, name = identity(obj)
    facts = {"group": group, "kind": kind, "name": name, "version": obj["apiVersion"].rpartition("/")[2]}
    if not all(re.fullmatch(target.get(f, ".*"), value) for f, value in facts.items()):
        return False
    wanted = [p.split("=") for p in target.get("labelSelector", "").split(",") if p]
    labels = obj["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in wanted)


class Renderer:
    """One run over a kustomization and what it names."""

    def __init__(self):
        self.references = []  # (kind, path of a ConfigMap's name) beside the built-in kinds

    def render(self, folder, components=()):
        """Objects of the kustomization in `folder`, with more components as if it named them."""
        objects = self.accumulate(folder, [], [os.path.abspath(c) for c in components])
        names = {}
        for obj in objects:
            if obj.pop("//hash", False):
                old = obj["metadata"]["name"]
                names[old] = obj["metadata"]["name"] = f"{old}-{name_hash(obj)}"
        for obj in objects:
            obj.pop("//generated", None)
            self.rename(obj, names)
        return objects

    def accumulate(self, folder, objects, more_components=()):
        where = os.path.join(folder, "kustomization.yaml")
        (kustomization,) = documents(where)
        unknown = set(kustomization) - KNOWN_FIELDS
        if unknown:
            raise RenderError(f"{where}: {sorted(unknown)} is not known here")
        for resource in kustomization.get("resources", []):
            path = os.path.join(folder, resource)
            found = self.accumulate(path, []) if os.path.isdir(path) else documents(path)
            for obj in found:
                if identity(obj) in map(identity, objects):
                    raise RenderError(f"{where}: {identity(obj)} twice")
                objects.append(obj)
        for component in list(kustomization.get("components", [])) + list(more_components):
            self.accumulate(os.path.join(folder, component), objects)
        for path in kustomization.get("configurations", []):
            self.read_references(os.path.join(folder, path))
        for generator in kustomization.get("configMapGenerator", []):
            self.generate(generator, kustomization, objects, folder)
        for patch in kustomization.get("patches", []):
            self.patch(patch, objects, folder)
        for obj in objects:
            transform(obj, kustomization)
        return objects

    def read_references(self, path):
        (configuration,) = documents(path)
        for reference in configuration.pop("nameReference"):
            if reference["kind"] != "ConfigMap":
                raise RenderError(f"{path}: references to {reference['kind']} are not known here")
            self.references += [(spec["kind"], spec["path"].split("/")) for spec in reference["fieldSpecs"]]
        if configuration:
            raise RenderError(f"{path}: {sorted(configuration)} is not known here")

    def generate(self, generator, kustomization, objects, folder):
        where = f"{folder}: configMapGenerator {generator['name']}"
        unknown = set(generator) - {"name", "behavior", "files", "literals", "options"}
        options = {**kustomization.get("generatorOptions", {}), **generator.get("options", {})}
        unknown |= set(options) - {"labels", "annotations", "disableNameSuffixHash"}
        if unknown:
            raise RenderError(f"{where}: {sorted(unknown)} is not known here")
        data = dict(literal.split("=", 1) for literal in generator.get("literals", []))
        for name in generator.get("files", []):
            key, _, path = name.rpartition("=")
            with open(os.path.join(folder, path), encoding="utf-8") as file:
                data[key or os.path.basename(path)] = file.read()
        old = [o for o in objects if o.get("//generated") and o["metadata"]["name"] == generator["name"]]
        if generator.get("behavior", "create") == "merge":
            if not old:
                raise RenderError(f"{where}: nothing to merge with")
            old[0]["data"].update(data)
            return
        if old:
            raise RenderError(f"{where}: is there already")
        metadata = {"name": generator["name"]}
        metadata.update({k: dict(options[k]) for k in ("labels", "annotations") if k in options})
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "//generated": True,
                        "//hash": not options.get("disableNameSuffixHash", False)})

    def patch(self, patch, objects, folder):
        where = os.path.join(folder, patch.get("path", "kustomization.yaml"))
        contents = documents(where) if "path" in patch else [d for d in yaml.safe_load_all(patch["patch"]) if d is not None]
        if "target" in patch:
            (content,) = contents
            for obj in [o for o in objects if is_target(o, patch["target"])]:
                if isinstance(content, list):
                    json_patch(obj, content, where)
                elif content.get("$patch") == "delete":
                    objects.remove(obj)
                else:
                    body = {k: v for k, v in content.items() if k not in ("apiVersion", "kind")}
                    body["metadata"] = {k: v for k, v in body.get("metadata", {}).items() if k != "name"}
                    merge(obj, body, not CUSTOM_GROUPS.search(obj["apiVersion"]))
            return
        if len(contents) > 1 and any(c.get("$patch") for c in contents):
            raise RenderError(f"{where}: kustomize 5.5 crashes on two $patch documents in one patch; give each its own entry")
        for content in contents:
            hits = [o for o in objects if identity(o) == identity(content)]
            if len(hits) != 1:
                raise RenderError(f"{where}: {identity(content)} is there {len(hits)} times, must be once")
            if content.get("$patch") == "delete":
                objects.remove(hits[0])
            else:
                merge(hits[0], content, not CUSTOM_GROUPS.search(hits[0]["apiVersion"]))

    def rename(self, obj, names):
        """Writes the hashed names of ConfigMaps where the object names them."""
        pod = obj.get("spec", {}).get("template", {}).get("spec", {}) if obj["kind"] in ("Deployment", "StatefulSet") else {}
        places = [v["configMap"] for v in pod.get("volumes", []) if "configMap" in v]
        for container in pod.get("containers", []) + pod.get("initContainers", []):
            places += [e["configMapRef"] for e in container.get("envFrom", []) if "configMapRef" in e]
        for kind, path in self.references:
            if kind == obj["kind"]:
                places += walk(obj, path[:-1])
        for place in places:
            place["name"] = names.get(place["name"], place["name"])


def walk(node, path):
    """The dictionaries at `path`, through every list on the way."""
    if isinstance(node, list):
        return [found for entry in node for found in walk(entry, path)]
    if not path:
        return [node]
    return walk(node[path[0]], path[1:]) if path[0] in node else []


def containers_in(node):
    """Every container at any depth, of whatever kind."""
    if isinstance(node, list):
        return [c for entry in node for c in containers_in(entry)]
    if not isinstance(node, dict):
        return []
    found = []
    for key, value in node.items():
        if key in ("containers", "initContainers") and isinstance(value, list):
            found += [c for c in value if isinstance(c, dict)]
        else:
            found += containers_in(value)
    return found


def transform(obj, kustomization):
    """What a kustomization does to all its objects: namespace, labels, images, replicas."""
    namespace = kustomization.get("namespace")
    if namespace:
        if obj["kind"] == "Namespace":
            obj["metadata"]["name"] = namespace
        elif obj["kind"] not in CLUSTER_KINDS:
            obj["metadata"]["namespace"] = namespace
        for subject in obj.get("subjects", []) if obj["kind"].endswith("RoleBinding") else []:
            if subject["kind"] == "ServiceAccount" and ("namespace" not in subject or subject["name"] == "default"):
                subject["namespace"] = namespace
    for label in kustomization.get("labels", []):
        if set(label) - {"pairs"}:
            raise RenderError("labels: only `pairs` is known here")
        obj["metadata"].setdefault("labels", {}).update(label["pairs"])
    for image in kustomization.get("images", []):
        for container in containers_in(obj):
            name, tag, digest = re.fullmatch(r"(.+?)(?::([\w.-]+))?(?:@(sha256:\w+))?", container["image"]).groups()
            if name != image["name"]:
                continue
            if "digest" in image or "newTag" in image:
                tag, digest = image.get("newTag"), image.get("digest")
            suffix = f"@{digest}" if digest else f":{tag}" if tag else ""
            container["image"] = image.get("newName", name) + suffix
    for replicas in kustomization.get("replicas", []):
        if obj["metadata"]["name"] == replicas["name"] and obj["kind"] in ("Deployment", "StatefulSet"):
            obj["spec"]["replicas"] = replicas["count"]


def render(folder, components=()):
    return Renderer().render(folder, components)


def main():
    yaml.safe_dump_all(render(sys.argv[1], sys.argv[2:]), sys.stdout)


if __name__ == "__main__":
    main()

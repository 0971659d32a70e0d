"""Validates every rendering: kinds of Kubernetes by kubernetes-validate --strict, at the oldest and the newest version that is promised;
custom kinds by the schemas of schemas/, which know the fields that deploy/ uses and no other.

Runs in the environment of validate.sh. Prints one line per rendering, and one per finding.
"""
import json
import os
import sys

import jsonschema
import kubernetes_validate

from renderings import RENDERINGS, rendered

VERSIONS = ("1.30", "1.37")  # preStop.sleep came with 1.30
SCHEMAS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "schemas")


def schema_of(obj):
    """The custom kind's schema; None for a kind that Kubernetes has itself."""
    path = os.path.join(SCHEMAS, obj["kind"] + ".json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def core_findings(obj, version):
    try:
        kubernetes_validate.validate(obj, version, strict=True)
    except kubernetes_validate.utils.ValidationError as error:
        yield f"{version}: {'.'.join(map(str, error.path))}: {error.message[:300]}"
    except kubernetes_validate.utils.SchemaNotFoundError as error:
        yield f"{version}: {error.message}"


def pod_templates(node, path=""):
    """Every pod template inside a custom object, as a Pod of its own."""
    if isinstance(node, dict):
        if isinstance(node.get("spec"), dict) and "containers" in node["spec"]:
            yield path, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "template", **node.get("metadata", {})}, "spec": node["spec"]}
            return
        for key, value in node.items():
            yield from pod_templates(value, f"{path}.{key}")


def findings(obj):
    schema = schema_of(obj)
    if schema is None:
        for version in VERSIONS:
            yield from core_findings(obj, version)
        return
    if obj["apiVersion"] != schema["properties"]["apiVersion"]["const"]:
        yield f"apiVersion {obj['apiVersion']}, the schema is of {schema['properties']['apiVersion']['const']}"
    for error in jsonschema.Draft202012Validator(schema).iter_errors(obj):
        yield f"{'.'.join(map(str, error.path))}: {error.message[:300]}"
    for path, pod in pod_templates(obj["spec"]):
        for version in VERSIONS:
            for finding in core_findings(pod, version):
                yield f"{path}: {finding}"


def main():
    failed = False
    for name in RENDERINGS:
        objects = rendered(name)
        found = [f"{o['kind']} {o['metadata']['name']}: {f}" for o in objects for f in findings(o)]
        failed = failed or bool(found)
        print(f"{'invalid' if found else 'valid'}: {name} ({len(objects)} objects)", *found, sep="\n  ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

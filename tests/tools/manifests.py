"""Strict offline validation of Kubernetes manifests: core kinds against the published schemas, custom ones against their CRDs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

VERSION = "1.34"
METADATA = {"name", "namespace", "labels", "annotations", "creationTimestamp"}  # an API server knows more, a manifest needs no more
Manifest = dict[str, Any]


def rendered(overlay: Path) -> list[Manifest]:
    """The manifests of a kustomize overlay. Raises CalledProcessError where kustomize refuses it."""
    done = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=True)
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def problems(manifest: Manifest, crds: Path) -> list[str]:
    """What an API server's strict validation would refuse, but for CEL rules and webhooks."""
    if unknown := set(manifest.get("metadata", {})) - METADATA:
        return [f"metadata: unknown {sorted(unknown)}"]
    if any(crds.glob(f"{manifest['apiVersion'].partition('/')[0]}_*.yaml")):
        schema = _schema(crds, manifest["apiVersion"], manifest["kind"])
        return [f"{error.json_path}: {error.message[:200]}" for error in Draft202012Validator(schema).iter_errors(manifest)]
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


@cache
def _schema(crds: Path, api_version: str, kind: str) -> dict[str, Any]:
    group, _, version = api_version.partition("/")
    for file in sorted(crds.glob(f"{group}_{kind.lower()}*.yaml")):  # parsing them all takes seconds
        definition = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
        if definition["names"]["kind"] == kind:
            for served in definition["versions"]:
                if served["name"] == version and served["served"] and not served.get("deprecated"):
                    return strict(served["schema"]["openAPIV3Schema"])
    raise LookupError(f"no definition of {kind} in {api_version}, or a deprecated one")


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI v3 schema of a CRD as JSON Schema that refuses unknown fields wherever an API server would drop them."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    out = dict(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            out[key] = strict(schema[key])
    if "properties" in schema:
        out["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    return out


def pods(value: Any, at: str = "") -> Iterator[tuple[str, Manifest, Manifest]]:
    """(place, metadata, spec) of every pod template in a manifest, however deep."""
    if isinstance(value, list):
        for i, part in enumerate(value):
            yield from pods(part, f"{at}[{i}]")
    elif isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and "containers" in spec:
            yield at, value.get("metadata", {}), spec
        for key, part in value.items():
            yield from pods(part, f"{at}.{key}")

"""Register a stack of stacks.yaml with ZenML: `python infra/zenml/register.py local|kubernetes`; components that exist are kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml


def main(stack: str) -> None:
    from zenml.client import Client
    from zenml.enums import StackComponentType

    told: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "stacks.yaml").read_text())
    if stack not in told:
        raise SystemExit(f"no stack {stack!r} in stacks.yaml; expected {' or '.join(told)}")
    client, parts = Client(), {}
    for kind, part in told[stack].items():
        component = StackComponentType(kind)
        known = {c.name for c in client.list_stack_components(type=kind, name=part["name"])}
        if part["name"] not in known:
            client.create_stack_component(part["name"], part["flavor"], component, configuration=part.get("configuration", {}))
        parts[component] = part["name"]
    if not client.list_stacks(name=f"uvr-{stack}").items:
        client.create_stack(f"uvr-{stack}", parts)
    sys.stdout.write(f"uvr-{stack}: {', '.join(parts.values())}\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "local")

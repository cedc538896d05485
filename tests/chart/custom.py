"""Custom resources against the types of their own projects, by TypeScript's compiler: unknown fields too."""

import json
import os
import subprocess
from pathlib import Path

PACKAGES = {
    "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
    "keda.sh": "@kubernetes-models/keda",
    "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
    "argoproj.io": "@kubernetes-models/argo-rollouts",
}


def is_custom(document: dict) -> bool:
    return document["apiVersion"].split("/")[0] in PACKAGES


def faults(documents: list, scratch: Path) -> str:
    """What is wrong with them: nothing, or what the compiler and the validators say."""
    modules = Path(os.environ["NODE_PATH"])
    link = scratch / "node_modules"
    if not link.exists():
        link.symlink_to(modules)
    (scratch / "package.json").write_text('{"type": "module"}')
    imports, literals, checks = [], [], []
    for i, document in enumerate(documents):
        group, kind = document["apiVersion"], document["kind"]
        imports.append(f'import {{ {kind} as K{i}, type I{kind} as T{i} }} from "{PACKAGES[group.split("/")[0]]}/{group}/{kind}";')
        literals.append(f"const d{i}: T{i} = {json.dumps(document)};")
        checks.append(f"new K{i}(d{i}).validate();")
    source = scratch / "documents.ts"
    source.write_text("\n".join(imports + literals + checks))
    tsc = ["node", modules / "typescript/bin/tsc", "--strict", "--skipLibCheck", "--target", "es2022"]
    compiled = subprocess.run(
        [*tsc, "--module", "nodenext", "--moduleResolution", "nodenext", source],
        cwd=scratch, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if compiled.returncode:
        return compiled.stdout + compiled.stderr
    ran = subprocess.run(["node", scratch / "documents.js"], cwd=scratch, capture_output=True, text=True, timeout=60)
    return ran.stderr if ran.returncode else ""

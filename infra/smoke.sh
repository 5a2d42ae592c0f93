#!/usr/bin/env bash
# On your cluster: a CPU TrainJob, a RayJob and the compiled tiny pipeline, their run digests against this machine's, one table.
# Needs kubectl with your cluster as its context; Kubeflow Trainer v2, Kueue, KubeRay; for the pipeline KFP_HOST; IMAGE by digest.
#   IMAGE=REGISTRY/uvrlab@sha256:... KFP_HOST=http://localhost:8080 infra/smoke.sh
set -uo pipefail
cd "$(dirname "$0")/.."

: "${IMAGE:?set IMAGE to the image that you built from infra/Dockerfile, by digest}"
NAMESPACE=uvrlab
ROWS=()
FAILED=0
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

row() { ROWS+=("$(printf '%-22s %-5s %s' "$1" "$2" "$3")"); [ "$2" = pass ] || FAILED=1; }
digest() { python3 -c 'import json, sys; print(json.load(sys.stdin)["digest"])'; }
want() { digest <"$WORK/runs/$1/manifest.json"; }

# A pod of ours that keeps the volume in reach: run directories are read, and the inputs of the jobs are made, through it.
helper() {
  kubectl -n $NAMESPACE delete pod uvr-helper --ignore-not-found --wait >/dev/null
  kubectl -n $NAMESPACE apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Pod
metadata: {name: uvr-helper, namespace: $NAMESPACE}
spec:
  serviceAccountName: uvr
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: helper
      image: $IMAGE
      command: [sleep, "7200"]
      workingDir: /var/uvr
      env: [{name: UVR_HOME, value: /var/uvr/home}]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: "1", memory: 4Gi}, limits: {cpu: "2", memory: 8Gi}}
      volumeMounts: [{name: uvr, mountPath: /var/uvr}, {name: tmp, mountPath: /tmp}]
  volumes: [{name: uvr, persistentVolumeClaim: {claimName: uvr}}, {name: tmp, emptyDir: {}}]
EOF
  kubectl -n $NAMESPACE wait pod/uvr-helper --for=condition=Ready --timeout=600s >/dev/null
}
inside() { kubectl -n $NAMESPACE exec uvr-helper -- "$@"; }
uvr_run() { inside uvr run "$1" --config /app/configs/tiny.yaml --out "/var/uvr/runs/$1" "${@:2}" >/dev/null; }
compare() { # name, stage, digest found
  if [ -n "$3" ] && [ "${3:0:12}" = "$(want "$2" | cut -c1-12)" ]; then row "$1" pass "${3:0:12}"; else row "$1" FAIL "found ${3:0:12}, expected $(want "$2" | cut -c1-12)"; fi
}

echo "local runs of configs/tiny.yaml, for their digests"
.venv/bin/python -m pipelines.run cli --config configs/tiny.yaml --out "$WORK/runs" --set "register.registry_dir=$WORK/registry" >/dev/null \
  || { echo "the local run failed; run make demo CONFIG=configs/tiny.yaml"; exit 1; }

cp -r infra/k8s "$WORK/k8s"
sed -i "s|newTag: 0.1.0.*|newName: ${IMAGE%@*}\n    digest: ${IMAGE#*@}|" "$WORK/k8s/base/kustomization.yaml"
kubectl kustomize "$WORK/k8s/overlays/cpu" >"$WORK/cpu.yaml" || exit 1
kubectl -n $NAMESPACE delete trainjob/uvr-sft rayjob/uvr-synthesize --ignore-not-found --wait >/dev/null 2>&1
# The jobs wait for their inputs: everything else first.
python3 - "$WORK" <<'EOF'
import pathlib, re, sys
work = pathlib.Path(sys.argv[1])
parts = re.split(r"^---\n", (work / "cpu.yaml").read_text(), flags=re.M)
for kind in ("TrainJob", "RayJob"):
    (work / f"{kind}.yaml").write_text("---\n".join(p for p in parts if f"\nkind: {kind}\n" in f"\n{p}"))
(work / "rest.yaml").write_text("---\n".join(p for p in parts if not re.search(r"^kind: (TrainJob|RayJob)$", p, re.M)))
EOF
if kubectl apply --server-side -f "$WORK/rest.yaml" >/dev/null; then row "manifests" pass "accepted by the API server"; else row "manifests" FAIL "see above"; fi
if helper && inside rm -rf /var/uvr/runs && uvr_run ingest; then
  compare "ingest in a pod" ingest "$(inside cat /var/uvr/runs/ingest/manifest.json | digest)"
else
  row "ingest in a pod" FAIL "kubectl -n $NAMESPACE describe pod uvr-helper"
fi

kubectl apply -f "$WORK/RayJob.yaml" >/dev/null
if kubectl -n $NAMESPACE wait rayjob/uvr-synthesize --for=jsonpath='{.status.jobStatus}'=SUCCEEDED --timeout=1800s >/dev/null; then
  compare "RayJob synthesize" synthesize "$(inside cat /var/uvr/runs/synthesize/manifest.json | digest)"
else
  row "RayJob synthesize" FAIL "kubectl -n $NAMESPACE describe rayjob uvr-synthesize"
fi

uvr_run validate --in clips=/var/uvr/runs/ingest --in uvrd=/var/uvr/runs/synthesize --in benchmark=/var/uvr/runs/ingest
kubectl apply -f "$WORK/TrainJob.yaml" >/dev/null
if kubectl -n $NAMESPACE wait trainjob/uvr-sft --for=condition=Complete --timeout=1800s >/dev/null; then
  # Two processes round differently from one, so the digest is theirs; that the run is whole is what can be asked.
  if inside uvr verify /var/uvr/runs/sft >/dev/null; then row "TrainJob sft" pass "2 processes, run verified"; else row "TrainJob sft" FAIL "uvr verify"; fi
else
  row "TrainJob sft" FAIL "kubectl -n $NAMESPACE describe trainjob uvr-sft"
fi

if [ -n "${KFP_HOST:-}" ]; then
  .venv/bin/python -m pipelines.kubeflow --config configs/tiny.yaml --image "$IMAGE" --out "$WORK/pipeline.yaml"
  if .venv/bin/python - "$KFP_HOST" "$WORK/pipeline.yaml" <<'EOF'
import sys
from kfp import Client
client = Client(host=sys.argv[1])
run = client.create_run_from_pipeline_package(sys.argv[2], run_name="uvr-smoke", enable_caching=False)
sys.exit(client.wait_for_run_completion(run.run_id, timeout=3600).state != "SUCCEEDED")
EOF
  then
    # Training rounds differently on other CPUs; what comes before it must not.
    LINE=$(kubectl -n "${KFP_NAMESPACE:-kubeflow}" logs -l uvrlab/stage=validate -c main --tail=-1 | grep -oE '^validate +[0-9a-f]{12}' | tail -1)
    compare "Kubeflow pipeline" validate "${LINE##* }"
  else
    row "Kubeflow pipeline" FAIL "see its run uvr-smoke in the UI"
  fi
else
  row "Kubeflow pipeline" FAIL "not run: set KFP_HOST"
fi

kubectl -n $NAMESPACE delete pod uvr-helper --ignore-not-found --wait=false >/dev/null
printf '\n%-22s %-5s %s\n' check "" ""
printf '%s\n' "${ROWS[@]}"
exit $FAILED

"""What the objects say, one by one."""

import re
import tomllib

import pytest
import yaml

from chart import CHART, ROOT, Refused, pick, pod, render, server, settings
from matrix import ALL_KINDS, BUCKET, KEYS, MATRIX, MINISIGN, SINCE, TLS


def test_the_defaults_are_small():
    kinds = sorted(f"{o['kind']}/{o['metadata']['name']}" for o in render())
    assert kinds == sorted(ALL_KINDS)


@pytest.mark.parametrize("name", [*MATRIX, *SINCE])
def test_pods_hold_the_restricted_standard(name):
    values = MATRIX[name] if name in MATRIX else SINCE[name][1]
    specs = [o["spec"]["template"]["spec"] for o in render(values) if o["kind"] == "Deployment"]
    specs += [o["spec"] for o in render(values) if o["kind"] == "Pod"]
    assert len(specs) == 2
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC"))
        for container in spec.get("initContainers", []) + spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]} and "privileged" not in context
            assert container["resources"]["limits"]["memory"]


def test_the_end_of_a_pod_has_time_for_all_of_it():
    objects = render({"shutdown": {"preStopSeconds": 7, "lameDuckSeconds": 11, "graceSeconds": 13}})
    assert pod(objects)["terminationGracePeriodSeconds"] == 7 + 11 + 13 + 5
    assert server(objects)["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert "lame_duck_ms = 11000" in settings(objects) and "grace_ms = 13000" in settings(objects)


def test_a_kubernetes_that_cannot_sleep_is_not_asked_to():
    objects = render(version="1.29.0")
    assert "lifecycle" not in server(objects)
    assert pod(objects)["terminationGracePeriodSeconds"] == 5 + 30 + 5


def test_probes_ask_what_they_should():
    container = server(render())
    get = lambda probe: container[probe]["httpGet"]
    assert get("readinessProbe") == {"path": "/readyz", "port": "rest", "scheme": "HTTP"}
    assert get("livenessProbe") == get("startupProbe") == {"path": "/healthz", "port": "rest", "scheme": "HTTP"}
    assert container["readinessProbe"]["failureThreshold"] == 1
    assert server(render({"tls": TLS}))["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


def test_where_certificates_are_asked_for_the_probes_go_another_way():
    container = server(render(MATRIX["clients with certificates and keys"]))
    assert container["readinessProbe"]["exec"]["command"][:2] == ["/usr/bin/ocelli", "health"]
    assert {"name": "OCELLI_TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}} in container["env"]


def test_rights_are_those_of_the_traffic_store_and_no_others():
    objects = render()
    assert pick(objects, "Role", "vision-ocelli-traffic")["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["vision-ocelli-traffic"],
            "verbs": ["get", "list", "watch", "update"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
    ]
    # The code says the same of itself.
    code = (ROOT / "src/control/store/kubernetes/mod.rs").read_text()
    assert "needs `get`, `list`, `watch`, `update` and `create` on `configmaps`" in code
    binding = pick(objects, "RoleBinding", "vision-ocelli-traffic")
    assert binding["subjects"][0] == {"kind": "ServiceAccount", "name": "vision-ocelli", "namespace": "cv"}
    assert pod(objects)["serviceAccountName"] == "vision-ocelli"
    assert 'traffic_store = "kubernetes:vision-ocelli-traffic"' in settings(objects)


def test_the_traffic_outlives_the_release_and_its_upgrades():
    traffic = pick(render(), "ConfigMap", "vision-ocelli-traffic")
    assert traffic["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "data" not in traffic


def test_without_a_store_there_is_no_token():
    objects = render(MATRIX["one replica, no cluster rights"])
    assert pod(objects)["automountServiceAccountToken"] is False
    assert not [o for o in objects if o["kind"] in ("Role", "RoleBinding", "ServiceAccount")]


def test_new_settings_make_new_pods_and_new_keys_do_not():
    sums = lambda values: pick(render(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    assert sums({}) != sums({"config": {"max_batch": 4}})
    keys = lambda toml: {"keys": {"enabled": True, "toml": toml}}
    assert sums(keys("a")) == sums(keys("b"))


def test_an_autoscaler_owns_the_replicas():
    assert pick(render(), "Deployment")["spec"]["replicas"] == 3
    objects = render(MATRIX["load"])
    assert "replicas" not in pick(objects, "Deployment")["spec"]
    hpa = pick(objects, "HorizontalPodAutoscaler")["spec"]
    assert hpa["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vision-ocelli"}
    load = {"metric": {"name": "ocelli_load"}, "target": {"type": "AverageValue", "averageValue": "0.7"}}
    assert hpa["metrics"] == [{"type": "Pods", "pods": load}]
    assert hpa["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert "replicas" not in pick(render(MATRIX["KEDA"]), "Deployment")["spec"]


def test_keda_adds_up_the_pods():
    trigger = lambda name: pick(render(MATRIX[name]), "ScaledObject")["spec"]["triggers"][0]
    asked = trigger("KEDA")["metadata"]
    assert asked["url"] == "http://vision-ocelli.cv.svc:8501/autoscale"
    assert asked["aggregateFromKubeServiceEndpoints"] == "true" and asked["aggregationType"] == "sum"
    query = trigger("KEDA by Prometheus")["metadata"]["query"]
    assert query == 'sum(ocelli_load{namespace="cv", pod=~"vision-ocelli-.+"})'
    secured = trigger("KEDA with keys and TLS")
    assert secured["authenticationRef"] == {"name": "vision-ocelli"} and secured["metadata"]["unsafeSsl"] == "true"


def test_a_monitor_finds_one_service():
    objects = render(MATRIX["monitoring"])
    wanted = pick(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    found = [o for o in objects if o["kind"] == "Service" and wanted.items() <= o["metadata"]["labels"].items()]
    assert [o["metadata"]["name"] for o in found] == ["vision-ocelli"]


def test_selectors_find_the_pods_and_not_the_test():
    objects = render({**MATRIX["network policy"], **MATRIX["load"]})
    labels = pick(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    test = pick(objects, "Pod", "vision-ocelli-test")["metadata"]["labels"]
    selectors = [pick(objects, "Service")["spec"]["selector"], pick(objects, "Service", "vision-ocelli-headless")["spec"]["selector"]]
    selectors.append(pick(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    selectors.append(pick(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    selectors.append(pick(objects, "Deployment")["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        assert selector.items() <= labels.items() and not selector.items() <= test.items()


def test_ports_lead_to_the_container():
    objects = render(MATRIX["admin exposed"])
    ports = {p["name"]: p["containerPort"] for p in server(objects)["ports"]}
    assert ports == {"rest": 8501, "grpc": 8500, "admin": 8502}
    for service in (o for o in objects if o["kind"] == "Service"):
        assert all(p["targetPort"] in ports for p in service["spec"]["ports"])
    open_to_all = [p["port"] for p in pick(objects, "NetworkPolicy")["spec"]["ingress"][0]["ports"]]
    assert open_to_all == ["rest", "grpc"]
    assert {p["name"] for p in server(render())["ports"]} == {"rest", "grpc"}


def test_routes_leave_figures_and_pages_inside():
    paths = lambda rules: [p["path"] for rule in rules for p in rule["http"]["paths"]]
    assert paths(pick(render(MATRIX["ingress"]), "Ingress")["spec"]["rules"]) == ["/v1/models", "/v2"]
    objects = render(MATRIX["gateway"])
    matches = pick(objects, "HTTPRoute")["spec"]["rules"][0]["matches"]
    assert [m["path"]["value"] for m in matches] == ["/v1/models", "/v2"]


def test_every_grpc_service_has_a_route():
    protos = "".join(p.read_text() for p in (ROOT / "proto").rglob("*.proto"))
    served = set(re.findall(r"^service (\w+)", protos, re.M)) | {"Health"}
    rules = pick(render(MATRIX["gateway"]), "GRPCRoute")["spec"]["rules"]
    routed = {m["method"]["service"].rsplit(".", 1)[1] for m in rules[0]["matches"]}
    assert routed == served


def test_inline_secrets_are_those_that_are_mounted():
    objects = render({**MATRIX["keys inline"], **MATRIX["TLS inline"]})
    secrets = {o["metadata"]["name"]: set(o["data"]) for o in objects if o["kind"] == "Secret"}
    assert secrets == {"vision-ocelli-keys": {"keys.toml"}, "vision-ocelli-tls": {"tls.crt", "tls.key"}}
    mounted = {v["secret"]["secretName"] for v in pod(objects)["volumes"] if "secret" in v}
    assert mounted == set(secrets)


def test_every_mount_has_its_volume():
    for values in [*MATRIX.values(), *(v for _, v in SINCE.values())]:
        spec = pod(render(values))
        volumes = [v["name"] for v in spec["volumes"]]
        assert len(volumes) == len(set(volumes))
        for container in spec.get("initContainers", []) + spec["containers"]:
            assert {m["name"] for m in container["volumeMounts"]} <= set(volumes)


def test_the_watch_of_a_bucket_is_a_sidecar():
    first, second = pod(render({"models": BUCKET}))["initContainers"]
    assert "restartPolicy" not in first and second["restartPolicy"] == "Always"
    remote = {e["name"]: e["value"] for e in first["env"]}["REMOTE"]
    assert remote == ':s3,env_auth="true",provider="AWS":models/vision'
    assert len(pod(render(MATRIX["bucket with keys, once"]))["initContainers"]) == 1


def test_a_server_that_mirrors_a_url_has_where_to_and_what_with():
    objects = render(MATRIX["url"])
    given = tomllib.loads(settings(objects))
    told = {key: given[key] for key in ("models", "model_cache", "source_poll_ms", "source_versions", "require_digest")}
    expected = {"models": "s3://models/vision", "model_cache": "/models", "source_poll_ms": 30000, "source_versions": 2, "require_digest": True}
    assert told == expected and given["trusted_key"] == MINISIGN
    assert server(objects)["volumeMounts"][0] == {"name": "models", "mountPath": "/models", "readOnly": False}
    assert server(objects)["envFrom"] == [{"secretRef": {"name": "minio"}}]
    assert pod(objects)["volumes"][0]["emptyDir"] and "initContainers" not in pod(objects)


def test_a_models_image_is_mounted_read_only():
    objects = render(SINCE["image volume"][1])
    assert pod(objects)["volumes"][0] == {"name": "models", "image": {"reference": "r/models:1", "pullPolicy": "IfNotPresent"}}
    mount = server(objects)["volumeMounts"][0]
    assert mount == {"name": "models", "mountPath": "/models", "readOnly": True, "subPath": "vision"}
    assert "initContainers" not in pod(objects)


def test_alerts_may_be_left_out_and_runbooks_be_elsewhere():
    rule = pick(render(MATRIX["monitoring"]), "PrometheusRule")
    alerts = [r for g in rule["spec"]["groups"] for r in g["rules"] if "alert" in r]
    given = yaml.safe_load((CHART / "files/rules.yaml").read_text())
    names = {r["alert"] for g in given["groups"] for r in g["rules"] if "alert" in r}
    assert {a["alert"] for a in alerts} == names - {"OcelliDrift"}
    assert all(a["annotations"]["runbook_url"].startswith("https://docs/runbooks#") for a in alerts)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"replica": 3}, "replica"),
        ({"replicas": "three"}, "replicas"),
        ({"models": {"source": "ftp"}}, "source"),
        ({"models": {"source": "pvc"}}, "models.pvc.claimName"),
        ({"models": {"source": "volume"}}, "models.volume"),
        ({"models": {"source": "http"}}, "models.http.files"),
        ({"models": {"source": "http", "http": {"files": [{"name": "a", "url": "https://h/a"}]}}}, "sha256"),
        ({"models": {"source": "bucket"}}, "models.bucket.url"),
        ({"models": {"source": "bucket", "bucket": {"url": "ftp://x"}}}, "url"),
        ({"models": {"source": "url"}}, "models.url.url"),
        ({"models": {"source": "url", "url": {"url": "http://h/m"}}}, "url"),
        ({"models": {"source": "url", "url": {"url": "s3://m"}}, "config": {"model_cache": "/x"}}, "config.model_cache"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
        ({"config": {"models": "/x"}}, "config.models"),
        ({"config": {"max_batch": {"a": 1}}}, "max_batch"),
        ({"autoscaling": {"enabled": True}, "keda": {"enabled": True}}, "two autoscalers"),
        ({"tls": {"enabled": True}}, "tls.existingSecret"),
        ({"tls": {"clientAuth": "required"}}, "set tls.enabled"),
        ({"keys": {"enabled": True}}, "keys.existingSecret"),
        ({"keys": {"protectMetrics": True}}, "keys.enabled"),
        ({"keys": {"enabled": True, "toml": "x", "protectMetrics": True}, "monitoring": {"podMonitor": {"enabled": True}}}, "clientToken"),
        ({"tls": {**TLS, "clientAuth": "required"}, "keys": {"enabled": True, "toml": "x"}}, "clientToken"),
        ({"admin": {"expose": True}}, "keys.enabled"),
        ({"admin": {"expose": True}, "keys": KEYS, "tls": {**TLS, "clientAuth": "required"}}, "probes"),
        ({"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}}, "twice"),
        ({"keda": {"enabled": True, "trigger": "prometheus"}}, "serverAddress"),
        ({"gateway": {"enabled": True}}, "parentRefs"),
        ({"traffic": {"store": "memory"}}, "replicas=1"),
        ({"shutdown": {"lameDuckSeconds": 4}}, "lameDuckSeconds"),
        ({"networkPolicy": {"adminFrom": [{"podSelector": {}}]}}, "admin.expose"),
    ],
)
def test_what_cannot_work_is_refused(values, word):
    with pytest.raises(Refused, match=re.escape(word)):
        render(values)


def test_image_volumes_are_refused_where_there_are_none():
    with pytest.raises(Refused, match=r"1\.31"):
        render(SINCE["image volume"][1], version="1.30.0")

"""What deploys Ocelli, read by the programs that it is for."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from queries import PENDING, ROOT, RULES, alerts, annotations, braced, dashboards, panels, recordings
from world import BINARY

DEPLOY = ROOT / "deploy"


def needs(program: str):
    return pytest.mark.skipif(not shutil.which(program), reason=f"there is no {program}")


def run(*command, **more) -> subprocess.CompletedProcess:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, **more)


def documents(path) -> list:
    return [doc for doc in yaml.safe_load_all(path.read_text()) if doc]


@needs("promtool")
def test_prometheus_takes_the_rules():
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@needs("promtool")
def test_alerts_speak_up_and_keep_quiet(tmp_path):
    shutil.copy(RULES, tmp_path)
    shutil.copy(ROOT / "tests/deploy/alerts.yaml", tmp_path)
    done = run("promtool", "test", "rules", "alerts.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = set(re.findall(r"alertname: (\w+)", (ROOT / "tests/deploy/alerts.yaml").read_text()))
    assert tried == {alert.where for alert in alerts()}


@needs("promtool")
def test_prometheus_parses_every_query(tmp_path):
    """As rules, which is what promtool parses."""
    texts = [q.text for q in [*panels(), *annotations(), *recordings(), *alerts()]]
    texts += [doc["query"] for doc in argo_queries()]
    texts += [adapter(rule["metricsQuery"], rule["seriesQuery"]) for rule in adapter_rules()]
    rules = [{"record": f"q:{i}", "expr": text} for i, text in enumerate(texts)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = run("promtool", "check", "rules", "--lint=none", file)
    assert done.returncode == 0 and f"{len(texts)} rules found" in done.stdout, done.stdout + done.stderr


def argo_queries() -> list:
    """Of Argo Rollouts and Flagger, with what they put in."""
    (template,) = [d for d in documents(DEPLOY / "rollouts/argo-rollouts.yaml") if d["kind"] == "AnalysisTemplate"]
    texts = [m["provider"]["prometheus"]["query"] for m in template["spec"]["metrics"]]
    texts += [d["spec"]["query"] for d in documents(DEPLOY / "rollouts/flagger.yaml") if d["kind"] == "MetricTemplate"]
    words = {"args.namespace": "cv", "args.hash": "5d4f", "namespace": "cv", "target": "ocelli", "interval": "1m"}
    return [{"query": re.sub(r"\{\{ *([\w.]+) *\}\}", lambda m: words[m[1]], text)} for text in texts]


def adapter_rules() -> list:
    rules = yaml.safe_load((DEPLOY / "prometheus/adapter-values.yaml").read_text())["rules"]
    return rules["custom"] + rules["external"]


def adapter(template: str, series: str) -> str:
    """As prometheus-adapter fills it in."""
    words = {"<<.Series>>": series.split("{")[0], "<<.LabelMatchers>>": 'namespace="cv",pod=~"a|b"', "<<.GroupBy>>": "pod"}
    for word, value in words.items():
        template = template.replace(word, value)
    return template


@needs("promtool")
@pytest.mark.parametrize("name", ["prometheus.yml", "kubernetes-pods.yml"])
def test_prometheus_takes_the_configuration(tmp_path, name):
    text = (DEPLOY / "prometheus" / name).read_text().replace("/etc/prometheus/rules.yaml", str(RULES))
    # Debian's Prometheus knows no clusters.
    text = text.replace("kubernetes_sd_configs:\n      - role: pod", "static_configs:\n      - targets: [pod]")
    (tmp_path / name).write_text(text)
    done = run("promtool", "check", "config", tmp_path / name)
    assert done.returncode == 0, done.stdout + done.stderr


@needs("haproxy")
def test_haproxy_takes_the_configuration(tmp_path):
    text = (DEPLOY / "compose/haproxy.cfg").read_text()
    (tmp_path / "haproxy.cfg").write_text(re.sub(r"ocelli-\d:", "127.0.0.1:", text))
    done = run("haproxy", "-c", "-f", tmp_path / "haproxy.cfg")
    assert done.returncode == 0, done.stderr


def test_the_compose_file_names_what_there_is():
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    services = compose["services"]
    for service in services.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (DEPLOY / "compose" / source).exists() if source.startswith(".") else source in compose["volumes"], mount
        needed = service.get("depends_on", {})
        assert set(needed) <= set(services)
    replicas = [name for name in services if name.startswith("ocelli-")]
    assert len(replicas) == 3
    servers = set(re.findall(r"server (\S+) \1:850", (DEPLOY / "compose/haproxy.cfg").read_text()))
    (job,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert set(replicas) == servers == set(job["dns_sd_configs"][0]["names"])
    # The server knows every variable that it is given.
    options = run(BINARY, "serve", "--help").stdout
    for replica in replicas:
        assert all(f"[env: {name}=" in options for name in services[replica]["environment"])


def test_every_variable_is_one_that_the_server_knows():
    options = run(BINARY, "serve", "--help").stdout
    later = {"OCELLI_ONNXRUNTIME_LIBRARY", "OCELLI_OPENVINO_LIBRARY"}
    for path in [ROOT / "Dockerfile", *DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.service"), *DEPLOY.rglob("*.conf")]:
        for name in set(re.findall(r"\bOCELLI_[A-Z_]+\b", path.read_text())) - later:
            assert f"[env: {name}=" in options, f"{path.name}: {name}"


def test_dashboards_are_as_their_code_writes_them():
    done = run(sys.executable, DEPLOY / "grafana/dashboards.py", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_is_whole(name):
    dashboard = dashboards()[name]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and dashboard["uid"] == f"ocelli-{name}"
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["description"] and panel["targets"]
        used = set(re.findall(r"\$([a-z]\w*)", json.dumps(panel)))
        assert used <= variables, f"{panel['title']}: {used - variables}"


def test_every_alert_has_a_runbook():
    text = (ROOT / "docs/runbooks.md").read_text()
    headings = {heading.lower() for heading in re.findall(r"^## (\w+)$", text, re.M)}
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"
                assert rule["alert"].lower() in headings, rule["alert"]
    assert headings == {alert.where.lower() for alert in alerts()}


def test_what_is_awaited_is_used():
    """Else pending.py names something that nobody asks for."""
    used = set().union(*(q.metrics for q in [*panels(), *recordings(), *alerts()]))
    assert PENDING <= used


def test_adapter_gives_what_the_autoscaler_asks_for():
    given = {rule["name"]["as"] for rule in adapter_rules()}
    template = (ROOT / "helm/ocelli/templates/hpa.yaml").read_text()
    assert braced(template) <= given


@needs("hadolint")
def test_hadolint_finds_nothing():
    done = run("hadolint", ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_image_builds_and_runs():
    done = run(ROOT / "tests/deploy/image")
    print(done.stdout, done.stderr)
    if "not tried" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr[-2000:]
    assert "MB unpacked" in done.stdout


@needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path):
    text = (DEPLOY / "systemd/ocelli.service").read_text().replace("/usr/bin/ocelli", str(BINARY))
    (tmp_path / "ocelli.service").write_text(text)
    done = run("systemd-analyze", "verify", tmp_path / "ocelli.service")
    assert done.returncode == 0, done.stderr

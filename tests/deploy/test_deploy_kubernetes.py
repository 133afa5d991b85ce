"""The manifests of deploy/kubernetes: built by kustomize, held against the schemas, of one mind.

Kubernetes' own kinds are checked by kubernetes-validate, the others against tests/schemas.
"""

from __future__ import annotations

import copy
import functools
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.kubernetes import prometheus_rule
from tests.deploy.deployed import DEPLOY, read_yaml, settings_of
from vaewatch.service.http.auth import OPEN
from vaewatch.service.settings import Settings

KUBERNETES = "1.34"
FOLDER = DEPLOY / "kubernetes"
LOADER = "loader.yaml"
OVERLAYS = ("overlays/small", "overlays/fetched", "overlays/production")
BUILDS = (*OVERLAYS, "score", "score-objects", "kserve", LOADER)
SCHEMAS = Path(__file__).parent / "schemas"
OTHERS = {
    "ServiceMonitor": "prometheus-operator.json",
    "PrometheusRule": "prometheus-operator.json",
    "InferenceService": "kserve.json",
    "ServingRuntime": "kserve.json",
}
BY_HAND = {
    ("Secret", "vaewatch-keys"),
    ("Secret", "vaewatch-store"),
}  # deploy/README.md has the commands
ELSEWHERE = {
    "score": "overlays/production",
    "score-objects": "overlays/production",
    "kserve": "overlays/production",
    LOADER: "overlays/small",
}

Manifest = dict[str, Any]


@functools.cache
def build(name: str) -> tuple[Manifest, ...]:
    """What `kubectl apply` would send."""
    if name == LOADER:
        return (read_yaml(FOLDER / name),)
    if shutil.which("kubectl"):
        words = ["kubectl", "kustomize"]
    elif shutil.which("kustomize"):
        words = ["kustomize", "build"]
    else:
        pytest.skip("neither kubectl nor kustomize is installed")
    done = subprocess.run([*words, str(FOLDER / name)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return tuple(yaml.safe_load_all(done.stdout))


def check(manifest: Manifest) -> None:
    """Raises what the schema has against it."""
    kind = manifest["kind"]
    if kind not in OTHERS:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    schema = json.loads((SCHEMAS / OTHERS[kind]).read_text())
    jsonschema.validate(manifest, {**schema, "$ref": f"#/$defs/{kind}"})
    if kind == "ServingRuntime":
        check({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": pod_of(manifest)})


def pod_of(manifest: Manifest) -> dict[str, Any] | None:
    """The pod that a manifest makes, if it makes one."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        return dict(spec)
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if manifest["kind"] == "ServingRuntime":
        return {name: spec[name] for name in ("containers", "volumes")}
    found: dict[str, Any] | None = spec.get("template", {}).get("spec")
    return found


def pods(*builds: str) -> Iterator[tuple[Manifest, dict[str, Any]]]:
    for name in builds or BUILDS:
        for manifest in build(name):
            pod = pod_of(manifest)
            if pod is not None:
                yield manifest, pod


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def one(name: str, kind: str) -> Manifest:
    found = [manifest for manifest in build(name) if manifest["kind"] == kind]
    assert len(found) == 1
    return found[0]


def words_of(container: Mapping[str, Any]) -> list[str]:
    """A container's arguments, as one that runs here would have them."""
    here = {"$(JOB_COMPLETION_INDEX)": "0", "/config/": f"{FOLDER / 'retrain'}/"}
    words: list[str] = container["args"]
    for there, value in here.items():
        words = [word.replace(there, value) for word in words]
    return words


def env_of(container: Mapping[str, Any]) -> dict[str, str]:
    return {e["name"]: e["value"] for e in container.get("env", ()) if "value" in e}


@pytest.mark.parametrize("name", BUILDS)
def test_each_manifest_follows_its_schema(name: str):
    for manifest in build(name):
        check(manifest)


@pytest.mark.parametrize(
    "build_name, kind, path, value",
    [
        ("overlays/small", "Deployment", ("spec", "template", "spec", "containers"), {}),
        ("overlays/small", "PodDisruptionBudget", ("spec", "maxUnavailible"), 1),
        ("overlays/production", "PrometheusRule", ("spec", "groups"), [{"rules": []}]),
        ("overlays/production", "ServiceMonitor", ("spec", "endpoint"), []),
        ("kserve", "InferenceService", ("spec", "predictor", "model", "modelFormat"), None),
        ("kserve", "ServingRuntime", ("spec", "containers"), [{"name": 1}]),
    ],
)
def test_a_wrong_manifest_would_not_pass(
    build_name: str, kind: str, path: tuple[str, ...], value: object
):
    wrong = copy.deepcopy(one(build_name, kind))
    inner = wrong
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(wrong)


def test_each_folder_is_built_by_a_test_or_by_what_it_is_part_of():
    parts = {"base", "monitoring", "retrain"}
    folders = {str(p.parent.relative_to(FOLDER)) for p in FOLDER.rglob("kustomization.yaml")}
    assert folders == parts | set(BUILDS) - {LOADER}


def test_each_command_is_one_that_vaewatch_has():
    seen = set()
    for _, pod in pods():
        for container in containers(pod):
            if "args" in container:
                words = words_of(container)
                settings_of(words, env_of(container))
                seen.add(words[0])
    assert seen == {"serve", "train", "score", "recalibrate"}


def test_what_a_manifest_names_is_there():
    for name in BUILDS:
        around = (*build(name), *build(ELSEWHERE.get(name, name)))
        there = {(m["kind"], m["metadata"]["name"]) for m in around} | BY_HAND
        for _, pod in pods(name):
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            mounted = {m["name"] for c in containers(pod) for m in c["volumeMounts"]}
            assert mounted == volumes.keys()
            assert set(named_by(pod)) <= there


def named_by(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "serviceAccountName" in pod:
        yield "ServiceAccount", pod["serviceAccountName"]
    for container in containers(pod):
        for source in container.get("envFrom", ()):
            yield "Secret", source["secretRef"]["name"]
    for volume in pod["volumes"]:
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]


def test_no_pod_may_more_than_it_must():
    for manifest, pod in pods():
        if manifest["kind"] != "ServingRuntime":  # KServe makes the pod
            assert pod["enableServiceLinks"] is False  # or VAEWATCH_PORT is tcp://...
            assert pod["automountServiceAccountToken"] is False
            assert pod["securityContext"]["runAsNonRoot"] is True
        for container in containers(pod):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_each_image_is_named_by_an_overlay_with_its_tag():
    images = {container["image"] for _, pod in pods() for container in containers(pod)}
    assert images and all(image.count(":") == 1 for image in images), images


@pytest.mark.parametrize("name", ["overlays/small", "overlays/production"])
def test_a_pod_has_time_to_stop(name: str):
    pod = pod_of(one(name, "Deployment"))
    assert pod is not None
    container = pod["containers"][0]
    drain = float(env_of(container)["VAEWATCH_DRAIN_SECONDS"])
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > sleep + drain + Settings.stop_seconds


def test_probes_ask_routes_that_need_no_key_on_the_port_that_listens():
    for manifest, pod in pods():
        for container in containers(pod):
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                if ports:
                    probe = container[kind]["httpGet"]
                    assert probe["path"] in OPEN
                    listens = int(env_of(container).get("VAEWATCH_PORT", Settings.port))
                    assert ports.get(probe["port"], probe["port"]) == listens, manifest["kind"]


def test_selectors_find_the_service_and_nothing_else():
    made = "overlays/production"
    labels = one(made, "Deployment")["spec"]["template"]["metadata"]["labels"]
    service, monitor = one(made, "Service"), one(made, "ServiceMonitor")
    assert service["spec"]["selector"] == labels
    for kind, member in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert one(made, kind)["spec"][member]["matchLabels"] == labels
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["jobLabel"] in service["metadata"]["labels"]
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    for manifest in (one(made, "CronJob"), one("score", "Job")):
        spec = manifest["spec"].get("jobTemplate", manifest)["spec"]
        others = spec["template"]["metadata"]["labels"]
        assert others["app.kubernetes.io/component"] != labels["app.kubernetes.io/component"]


@pytest.mark.parametrize("name", ["score", "score-objects"])
def test_the_job_has_as_many_shards_as_completions(name: str):
    spec = one(name, "Job")["spec"]
    args = spec["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--shard") + 1] == f"$(JOB_COMPLETION_INDEX)/{spec['completions']}"


def test_the_service_serves_what_the_retraining_puts_in_place():
    pod = pod_of(one("overlays/production", "CronJob"))
    served = pod_of(one("overlays/production", "Deployment"))
    assert pod is not None and served is not None
    train, test, last = (settings_of(words_of(c)) for c in containers(pod))
    assert train["target"] == test["artifact"] == last["artifact"]
    assert last["target"] == settings_of(served["containers"][0]["args"])["artifact"]
    # an older candidate is of no use, and rollback works on what is served
    assert (train["keep"], last["keep"]) == (0, 1)
    assert train["target"].name == last["target"].name  # the model's name, and its metrics' label


def test_the_prometheus_rule_is_that_of_prometheus():
    rules = (DEPLOY / "prometheus" / "rules.yml").read_text()
    hint = "run python deploy/kubernetes/prometheus_rule.py"
    assert prometheus_rule.TARGET.read_text() == prometheus_rule.prometheus_rule(rules), hint
    assert read_yaml(prometheus_rule.TARGET)["spec"] == yaml.safe_load(rules)

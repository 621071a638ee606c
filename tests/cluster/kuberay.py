"""The part of KubeRay's and Kubernetes' schemas that the manifests use, as strict as their servers are on demand.

Kubernetes drops a misspelt field without a word (`kubectl apply` only warns), so that unknown fields are errors here.
Names and types of fields were read off KubeRay's definitions of 1.5.1, the oldest version that the manifests are for,
and of 1.7.0, the newest: nothing that 1.5.1 knows is gone or has another type in 1.7.0. Of what 1.7.0 added, what lies
beside fields that the manifests use is here, too: 1.5.1 would cut it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

OLDEST, NEWEST = VERSIONS = ("1.5.1", "1.7.0")

TEXT, WHOLE, YES = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
NAME = {"type": "string", "pattern": "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"}
"""A DNS label, short enough for the names that KubeRay makes of it."""
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(m|Mi|Gi)?$"}


def fields(required: str = "", **known: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": known,
        "required": required.split(),
        "additionalProperties": False,
    }


def several(item: dict[str, Any]) -> dict[str, Any]:
    """A list of at least one."""
    return {"type": "array", "items": item, "minItems": 1}


def one_of(*values: str) -> dict[str, Any]:
    """One of these texts."""
    return {"enum": list(values)}


AMOUNTS = {
    "type": "object",
    "propertyNames": one_of("cpu", "memory", "nvidia.com/gpu"),
    "additionalProperties": QUANTITY,
}
RESOURCES = fields("requests limits", requests=AMOUNTS, limits=AMOUNTS)
PORT = fields("containerPort name", containerPort=WHOLE, name={"type": "string", "pattern": "^[a-z0-9-]{1,15}$"})
MOUNT = fields("name mountPath", name=NAME, mountPath={"type": "string", "pattern": "^/"}, readOnly=YES)
VOLUME = fields(
    "name",
    name=NAME,
    persistentVolumeClaim=fields("claimName", claimName=NAME),
    configMap=fields("name", name=NAME),
    secret=fields("secretName", secretName=NAME, defaultMode={"type": "integer", "minimum": 0, "maximum": 0o777}),
    emptyDir=fields(medium=one_of("Memory"), sizeLimit=QUANTITY),
)
CONTAINER = fields(
    "name image resources volumeMounts",
    name=NAME,
    image={"type": "string", "pattern": r"^[a-z0-9.-]+/[a-z0-9-]+:[a-z0-9.-]+$"},
    ports=several(PORT),
    resources=RESOURCES,
    volumeMounts=several(MOUNT),
)
POD = fields(
    "containers volumes securityContext",
    containers=several(CONTAINER),
    volumes=several(VOLUME),
    restartPolicy=one_of("Always", "Never"),
    securityContext=fields(runAsNonRoot=YES, runAsUser=WHOLE, fsGroup=WHOLE),
    tolerations=several(fields("key", key=TEXT, operator=one_of("Exists", "Equal"), effect=one_of("NoSchedule"))),
)
TEMPLATE = fields("spec", spec=POD)
START = {"type": "object", "additionalProperties": TEXT}  # numbers must be quoted
ANY_OBJECT = {"type": "object"}


def group(version: str) -> dict[str, Any]:
    """The specification of a group of workers."""
    return fields(
        "groupName minReplicas maxReplicas rayStartParams template",
        groupName=NAME,
        replicas=WHOLE,
        minReplicas=WHOLE,
        maxReplicas=WHOLE,
        rayStartParams=START,
        template=TEMPLATE,
        **({"priority": {"type": "integer"}} if version == NEWEST else {}),
    )


def cluster(version: str) -> dict[str, Any]:
    """The specification of a cluster, as this version of KubeRay knows it."""
    new = version == NEWEST
    token = {"enableK8sTokenAuth": YES, "secretName": TEXT} if new else {}
    command = {"command": several(TEXT), "args": several(TEXT)} if new else {}
    head = {"ingressOptions": ANY_OBJECT} if new else {}
    return fields(
        "rayVersion headGroupSpec workerGroupSpecs authOptions",
        rayVersion=TEXT,
        authOptions=fields("mode", mode=one_of("token", "disabled"), **token),
        enableInTreeAutoscaling=YES,
        autoscalerOptions=fields(
            version=one_of("v1", "v2"),
            upscalingMode=one_of("Default", "Conservative", "Aggressive"),
            idleTimeoutSeconds=WHOLE,
            resources=RESOURCES,
            **command,
        ),
        headGroupSpec=fields("rayStartParams template", rayStartParams=START, template=TEMPLATE, **head),
        workerGroupSpecs=several(group(version)),
        **(dict.fromkeys(("historyServerOptions", "tlsOptions", "upgradeStrategy"), ANY_OBJECT) if new else {}),
    )


def job(version: str) -> dict[str, Any]:
    """The specification of a RayJob."""
    return fields(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        submissionMode=one_of("K8sJobMode", "HTTPMode"),
        submitterConfig=fields(backoffLimit=WHOLE),
        backoffLimit=WHOLE,
        shutdownAfterJobFinishes=YES,
        ttlSecondsAfterFinished=WHOLE,
        rayClusterSpec=cluster(version),
        **({"preRunningDeadlineSeconds": WHOLE} if version == NEWEST else {}),
    )


def service(version: str) -> dict[str, Any]:
    """The specification of a RayService."""
    new = {"managedBy": TEXT, "suspend": YES} if version == NEWEST else {}
    return fields("serveConfigV2 rayClusterConfig", serveConfigV2=TEXT, rayClusterConfig=cluster(version), **new)


CLAIM = fields(
    "accessModes resources",
    accessModes=several(one_of("ReadWriteMany", "ReadWriteOnce")),
    resources=fields("requests", requests=fields("storage", storage=QUANTITY)),
)
_RAY = {("ray.io/v1", "RayJob"): job, ("ray.io/v1", "RayService"): service}
_SPECS = {
    ("v1", "PersistentVolumeClaim"): {"spec": CLAIM},
    ("v1", "ConfigMap"): {"data": {"type": "object", "additionalProperties": TEXT}},
}


def problems(document: dict[str, Any], version: str) -> list[str]:
    """What a strict server with this version of KubeRay would say of a document; nothing, if it is valid."""
    kind = str(document.get("apiVersion")), str(document.get("kind"))
    if kind not in _SPECS and kind not in _RAY:
        return [f"unknown kind {kind}"]
    own = {"spec": _RAY[kind](version)} if kind in _RAY else _SPECS[kind]
    whole = fields(" ".join(["metadata", *own]), apiVersion=TEXT, kind=TEXT, metadata=fields("name", name=NAME), **own)
    return _messages(document, whole)


def crd_problems(document: dict[str, Any], crd: Path) -> list[str]:
    """The same of a CustomResourceDefinition in a file; nothing where it is of another kind."""
    definition = yaml.safe_load(crd.read_text())["spec"]
    if definition["names"]["kind"] != document["kind"]:
        return []
    version = document["apiVersion"].partition("/")[2]
    [schema] = [one["schema"]["openAPIV3Schema"] for one in definition["versions"] if one["name"] == version]
    return _messages(document, strict(schema))


def strict(schema: Any) -> Any:
    """A structural schema in which fields that it does not know are errors."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    known = {key: strict(value) for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if "properties" in schema:  # among them one may be called as a keyword is
        known["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
    closed = schema.get("type") == "object" and "properties" in schema and "additionalProperties" not in schema
    if closed and schema["properties"] and not schema.get("x-kubernetes-preserve-unknown-fields"):
        known["additionalProperties"] = False
    return known


def _messages(document: Any, schema: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in Draft202012Validator(schema).iter_errors(document)]

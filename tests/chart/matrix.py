"""Values that the chart must render for, by what they are for."""

SUM = "0" * 64
MINISIGN = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
TLS = {"enabled": True, "existingSecret": "cert"}
KEYS = {"enabled": True, "existingSecret": "keys", "clientToken": {"secret": "token"}}
BUCKET = {"source": "bucket", "bucket": {"url": "s3://models/vision"}}

MATRIX = {
    "defaults": {},
    "one replica, no cluster rights": {
        "replicas": 1,
        "traffic": {"store": "memory"},
        "rbac": {"create": False},
        "serviceAccount": {"create": False},
    },
    "names": {"fullnameOverride": "a" * 70, "commonLabels": {"team": "cv"}, "commonAnnotations": {"a": "b"}},
    "short name": {"nameOverride": "vision"},
    "image by digest": {"image": {"repository": "r/ocelli", "digest": f"sha256:{SUM}"}, "imagePullSecrets": [{"name": "regcred"}]},
    "settings": {"config": {"max_batch": 16, "max_buffered_bytes": 2147483648, "trace_ratio": 0.25, "log_level": "info,ocelli=debug"}},
    "claim": {"models": {"source": "pvc", "pvc": {"claimName": "models", "subPath": "vision"}}},
    "volume": {"models": {"source": "volume", "volume": {"nfs": {"server": "nfs", "path": "/models"}}}},
    "http": {
        "models": {
            "source": "http",
            "http": {
                "files": [
                    {"name": "a", "version": 1, "url": "https://h/a.onnx", "sha256": SUM},
                    {"name": "b", "url": "https://h/b.tar.gz?x=1", "sha256": SUM},
                ],
                "env": [{"name": "https_proxy", "value": "http://proxy:3128"}],
            },
        }
    },
    "bucket": {"models": BUCKET, "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}}},
    "bucket with keys, once": {
        "models": {
            "source": "bucket",
            "bucket": {
                "url": "s3://models",
                "options": {"endpoint": "https://minio:9000", "provider": "Minio"},
                "secret": "minio",
                "everySeconds": 0,
            },
        }
    },
    "bucket of Google": {"models": {"source": "bucket", "bucket": {"url": "gs://models"}}},
    "bucket of Azure": {"models": {"source": "bucket", "bucket": {"url": "az://models", "options": {"account": "a"}}}},
    "url": {
        "models": {
            "source": "url",
            "url": {"url": "s3://models/vision", "secret": "minio", "requireDigest": True, "trustedKeys": [MINISIGN], "versions": 2},
        }
    },
    "TLS": {"tls": TLS, "monitoring": {"serviceMonitor": {"enabled": True}}},
    "TLS inline": {"tls": {"enabled": True, "cert": "CERT\n", "key": "KEY\n"}},
    "clients with certificates": {"tls": {**TLS, "clientAuth": "required", "clientCa": "CA\nCA\n"}},
    "clients with certificates and keys": {"tls": {**TLS, "clientAuth": "required"}, "keys": KEYS},
    "clients may show certificates": {"tls": {**TLS, "clientAuth": "optional"}},
    "keys": {"keys": {**KEYS, "protectMetrics": True}, "monitoring": {"podMonitor": {"enabled": True, "labels": {"release": "p"}}}},
    "keys inline": {"keys": {"enabled": True, "toml": "[[key]]\n"}},
    "admin exposed": {
        "keys": KEYS,
        "admin": {"expose": True},
        "networkPolicy": {"enabled": True, "adminFrom": [{"podSelector": {}}]},
    },
    "load": {"autoscaling": {"enabled": True}},
    "cpu": {
        "autoscaling": {
            "enabled": True,
            "metric": "cpu",
            "extraMetrics": [{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}}}],
        }
    },
    "KEDA": {"keda": {"enabled": True, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}},
    "KEDA by Prometheus": {
        "keda": {
            "enabled": True,
            "trigger": "prometheus",
            "prometheus": {"serverAddress": "http://prometheus:9090"},
            "extraTriggers": [{"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 18 * * *", "desiredReplicas": "4"}}],
        }
    },
    "KEDA with keys and TLS": {"keda": {"enabled": True}, "keys": {**KEYS, "protectMetrics": True}, "tls": TLS},
    "monitoring": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True, "runbooks": "https://docs/runbooks/", "without": ["OcelliDrift"]},
            "dashboards": {"enabled": True, "annotations": {"k8s-sidecar-target-directory": "Ocelli"}},
        }
    },
    "network policy": {
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}],
            "egress": {"extra": [{"ports": [{"port": 4317, "protocol": "TCP"}]}]},
        }
    },
    "network policy, in only": {"networkPolicy": {"enabled": True, "egress": {"enabled": False}}},
    "ingress": {"ingress": {"enabled": True, "className": "nginx", "tlsSecret": "web", "grpc": {"enabled": True}}},
    "gateway": {"gateway": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnames": ["ocelli.example"]}},
    "load balancer": {"service": {"type": "LoadBalancer", "headless": False, "restPort": 80}},
    "placing": {
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"key": "cpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "topologySpread": {"whenUnsatisfiable": "DoNotSchedule"},
        "podDisruptionBudget": {"minAvailable": "50%"},
    },
    "more volumes": {
        "extraVolumes": [{"name": "log", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "log", "mountPath": "/log"}],
        "extraEnv": [{"name": "OCELLI_PREDICTION_LOG", "value": "/log"}],
        "podLabels": {"a": "b"},
        "podAnnotations": {"c": "d"},
    },
    "patience": {"shutdown": {"preStopSeconds": 0, "lameDuckSeconds": 20, "graceSeconds": 120}},
}

SINCE = {
    "image volume": ("1.33.0", {"models": {"source": "image", "image": {"reference": "r/models:1", "subPath": "vision"}}}),
    "traffic nearby": ("1.31.0", {"service": {"trafficDistribution": "PreferClose"}}),
}
"""Values that only newer versions take."""

ALL_KINDS = [
    "ConfigMap/vision-ocelli",
    "ConfigMap/vision-ocelli-traffic",
    "Deployment/vision-ocelli",
    "Pod/vision-ocelli-test",
    "PodDisruptionBudget/vision-ocelli",
    "Role/vision-ocelli-traffic",
    "RoleBinding/vision-ocelli-traffic",
    "Service/vision-ocelli",
    "Service/vision-ocelli-headless",
    "ServiceAccount/vision-ocelli",
]
"""What the defaults make."""

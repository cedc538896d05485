{{/* Names, labels, and what several objects must say alike. */}}

{{- define "ocelli.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 50 characters, so that the suffixes fit. */}}
{{- define "ocelli.fullname" -}}
{{- $name := include "ocelli.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ocelli.selector" -}}
app.kubernetes.io/name: {{ include "ocelli.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ocelli.labels" -}}
{{ include "ocelli.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* metadata of an object: (dict "root" $ "suffix" "-headless" "labels" {} "annotations" {}) */}}
{{- define "ocelli.metadata" -}}
{{- $root := .root -}}
metadata:
  name: {{ include "ocelli.fullname" $root }}{{ .suffix | default "" }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "ocelli.labels" $root | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) (.annotations | default dict) $root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "ocelli.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ocelli.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "ocelli.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "ocelli.trafficMap" -}}
{{ .Values.traffic.configMap | default (printf "%s-traffic" (include "ocelli.fullname" .)) }}
{{- end -}}

{{- define "ocelli.tlsSecret" -}}
{{ .Values.tls.existingSecret | default (printf "%s-tls" (include "ocelli.fullname" .)) }}
{{- end -}}

{{- define "ocelli.keysSecret" -}}
{{ .Values.keys.existingSecret | default (printf "%s-keys" (include "ocelli.fullname" .)) }}
{{- end -}}

{{- define "ocelli.scheme" -}}
{{ ternary "https" "http" .Values.tls.enabled }}
{{- end -}}

{{/* How a scrape comes in, for monitors of both kinds. */}}
{{- define "ocelli.endpoint" -}}
path: /metrics
scheme: {{ include "ocelli.scheme" . }}
{{- if .Values.tls.enabled }}
tlsConfig:
  {{- if and .Values.tls.existingSecret (eq .Values.tls.clientAuth "off") }}
  ca: {secret: {name: {{ include "ocelli.tlsSecret" . }}, key: ca.crt, optional: true}}
  {{- end }}
  serverName: {{ include "ocelli.fullname" . }}.{{ .Release.Namespace }}.svc
  # The pods are found by the API server; what is read from them are figures.
  insecureSkipVerify: true
{{- end }}
{{- if .Values.keys.protectMetrics }}
authorization:
  credentials: {name: {{ .Values.keys.clientToken.secret }}, key: {{ .Values.keys.clientToken.key }}}
{{- end }}
{{- end -}}

{{/* What contradicts itself, told before anything is made. */}}
{{- define "ocelli.check" -}}
{{- with .Values -}}
{{- if and .autoscaling.enabled .keda.enabled -}}
{{- fail "autoscaling.enabled and keda.enabled: two autoscalers of one Deployment fight; choose one" -}}
{{- end -}}
{{- if and .tls.enabled (not .tls.existingSecret) (not (and .tls.cert .tls.key)) -}}
{{- fail "tls.enabled: give tls.existingSecret, or tls.cert and tls.key" -}}
{{- end -}}
{{- if and (ne .tls.clientAuth "off") (not .tls.enabled) -}}
{{- fail "tls.clientAuth: clients show certificates only over TLS; set tls.enabled" -}}
{{- end -}}
{{- if and (ne .tls.clientAuth "off") (not .tls.clientCa) (not .tls.existingSecret) -}}
{{- fail "tls.clientAuth: name who signs clients with tls.clientCa" -}}
{{- end -}}
{{- if and .keys.enabled (not .keys.existingSecret) (not .keys.toml) -}}
{{- fail "keys.enabled: give keys.existingSecret or keys.toml" -}}
{{- end -}}
{{- if and .keys.protectMetrics (not .keys.enabled) -}}
{{- fail "keys.protectMetrics needs keys.enabled" -}}
{{- end -}}
{{- if and .keys.protectMetrics (or .monitoring.serviceMonitor.enabled .monitoring.podMonitor.enabled) (not .keys.clientToken.secret) -}}
{{- fail "keys.protectMetrics: name the Secret of the scrape's token with keys.clientToken.secret" -}}
{{- end -}}
{{- if and .keys.enabled (eq .tls.clientAuth "required") (not .keys.clientToken.secret) -}}
{{- fail "tls.clientAuth=required with keys: the probes ask the admin API, and need keys.clientToken.secret" -}}
{{- end -}}
{{- if and .admin.expose (eq .tls.clientAuth "required") -}}
{{- fail "admin.expose with tls.clientAuth=required: the admin API would ask the probes for a certificate, and they have none" -}}
{{- end -}}
{{- if and .admin.expose (not .keys.enabled) -}}
{{- fail "admin.expose: set keys.enabled; the server won't start without" -}}
{{- end -}}
{{- if and .monitoring.serviceMonitor.enabled .monitoring.podMonitor.enabled -}}
{{- fail "monitoring.serviceMonitor and monitoring.podMonitor: every pod would be scraped twice; choose one" -}}
{{- end -}}
{{- if and .keda.enabled (eq .keda.trigger "prometheus") (not .keda.prometheus.serverAddress) -}}
{{- fail "keda.trigger=prometheus: give keda.prometheus.serverAddress" -}}
{{- end -}}
{{- if and .gateway.enabled (not .gateway.parentRefs) -}}
{{- fail "gateway.enabled: name the Gateway with gateway.parentRefs" -}}
{{- end -}}
{{- if and (eq .traffic.store "memory") (or .autoscaling.enabled .keda.enabled (gt (int .replicas) 1)) -}}
{{- fail "traffic.store=memory: replicas would not know of each other's traffic; use kubernetes, or replicas=1" -}}
{{- end -}}
{{- if le (int .shutdown.lameDuckSeconds) (mul 2 (int .probes.readyPeriodSeconds)) -}}
{{- fail "shutdown.lameDuckSeconds must be more than twice probes.readyPeriodSeconds, or who probes hears nothing" -}}
{{- end -}}
{{- if and .networkPolicy.adminFrom (not .admin.expose) -}}
{{- fail "networkPolicy.adminFrom: the admin API is not exposed; set admin.expose" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The server's settings: the user's, and what the chart knows itself. */}}
{{- define "ocelli.settings" -}}
{{- $own := dict
  "models" "/models"
  "rest_addr" "0.0.0.0:8501"
  "grpc_addr" "0.0.0.0:8500"
  "single_port" false
  "admin_addr" (ternary "0.0.0.0:8502" "127.0.0.1:8502" .Values.admin.expose)
  "traffic_store" (ternary (printf "kubernetes:%s" (include "ocelli.trafficMap" .)) "memory" (eq .Values.traffic.store "kubernetes"))
  "prometheus_url" .Values.traffic.prometheusUrl
  "lame_duck_ms" (mul 1000 (int .Values.shutdown.lameDuckSeconds))
  "grace_ms" (mul 1000 (int .Values.shutdown.graceSeconds))
  "tls_cert" (ternary "/etc/ocelli/tls/tls.crt" "" .Values.tls.enabled)
  "tls_key" (ternary "/etc/ocelli/tls/tls.key" "" .Values.tls.enabled)
  "tls_client_auth" .Values.tls.clientAuth
  "tls_client_ca" (ternary "" (ternary "/etc/ocelli/client-ca/ca.crt" "/etc/ocelli/tls/ca.crt" (ne .Values.tls.clientCa "")) (eq .Values.tls.clientAuth "off"))
  "keys_file" (ternary "/etc/ocelli/keys/keys.toml" "" .Values.keys.enabled)
  "protect_metrics" .Values.keys.protectMetrics
-}}
{{- if eq .Values.models.source "url" -}}
{{- $url := .Values.models.url -}}
{{- $mirror := dict
  "models" (required "models.url.url: which one?" $url.url)
  "model_cache" "/models"
  "source_poll_ms" (mul 1000 (int $url.everySeconds))
  "source_versions" (int $url.versions)
  "require_digest" $url.requireDigest
  "trusted_key" (join "," $url.trustedKeys)
-}}
{{- $own = merge $mirror $own -}}
{{- end -}}
{{- range $key, $_ := .Values.config -}}
{{- if hasKey $own $key -}}
{{- fail (printf "config.%s: the chart sets that itself, from values of its own" $key) -}}
{{- end -}}
{{- end -}}
{{- /* Scalars and lists are written alike in JSON and TOML, and toToml would write 8 as 8.0. */ -}}
{{- range $key, $value := merge $own .Values.config }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end -}}

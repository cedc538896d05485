{{/* Where models come from: a volume, and what fills it. */}}

{{/* Whether the volume is an emptyDir that something of the pod fills. */}}
{{- define "ocelli.models.filled" -}}
{{- if has .Values.models.source (list "init" "http" "bucket") }}true{{ end -}}
{{- end -}}

{{- define "ocelli.models.volume" -}}
{{- $models := .Values.models -}}
- name: models
  {{- if eq $models.source "volume" }}
  {{- if not $models.volume }}
  {{- fail "models.volume: which one?" }}
  {{- end }}
  {{- toYaml $models.volume | nindent 2 }}
  {{- else if eq $models.source "pvc" }}
  persistentVolumeClaim:
    claimName: {{ required "models.pvc.claimName: which one?" $models.pvc.claimName }}
    readOnly: true
  {{- else if eq $models.source "image" }}
  {{- if semverCompare "<1.31-0" $.Capabilities.KubeVersion.Version }}
  {{- fail "models.source=image needs Kubernetes 1.31" }}
  {{- end }}
  image:
    reference: {{ required "models.image.reference: which one?" $models.image.reference }}
    pullPolicy: {{ $models.image.pullPolicy }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $models.sizeLimit }}
  {{- end }}
{{- if has $models.source (list "http" "bucket") }}
- name: fetch
  configMap:
    name: {{ include "ocelli.fullname" . }}-fetch
{{- end }}
{{- end -}}

{{- define "ocelli.models.mount" -}}
- name: models
  mountPath: /models
  # What the server mirrors, it writes.
  readOnly: {{ ne .Values.models.source "url" }}
  {{- if and (eq .Values.models.source "pvc") .Values.models.pvc.subPath }}
  subPath: {{ .Values.models.pvc.subPath }}
  {{- else if and (eq .Values.models.source "image") .Values.models.image.subPath }}
  subPath: {{ .Values.models.image.subPath }}
  {{- end }}
{{- end -}}

{{/* What rclone calls the bucket. */}}
{{- define "ocelli.models.remote" -}}
{{- $bucket := .Values.models.bucket -}}
{{- $url := required "models.bucket.url: which one?" $bucket.url -}}
{{- $defaults := dict
  "s3://" (dict "backend" "s3" "options" (dict "provider" "AWS" "env_auth" "true"))
  "gs://" (dict "backend" "gcs" "options" (dict "env_auth" "true"))
  "az://" (dict "backend" "azureblob" "options" (dict "env_auth" "true"))
-}}
{{- if hasPrefix ":" $url -}}
{{ $url }}
{{- else -}}
{{- $scheme := regexFind "^[a-z0-9]+://" $url -}}
{{- if not (hasKey $defaults $scheme) -}}
{{- fail (printf "models.bucket.url=%s: s3://, gs://, az://, or what rclone calls a remote" $url) -}}
{{- end -}}
{{- $kind := get $defaults $scheme -}}
{{- $words := list -}}
{{- range $key, $value := merge (dict) $bucket.options $kind.options -}}
{{- $words = append $words (printf "%s=%s" $key (toString $value | printf "%q")) -}}
{{- end -}}
:{{ $kind.backend }},{{ join "," $words }}:{{ trimPrefix $scheme $url }}
{{- end -}}
{{- end -}}

{{- define "ocelli.models.initContainers" -}}
{{- $models := .Values.models -}}
{{- if eq $models.source "init" }}
- name: models
  image: {{ $models.init.image }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [cp, -R, {{ printf "%s/." (trimSuffix "/" $models.init.path) | quote }}, /target/]
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 128Mi}}
  volumeMounts:
    - {name: models, mountPath: /target}
{{- else if eq $models.source "http" }}
- name: models
  image: {{ $models.http.image }}
  command: [sh, /fetch/http.sh, /models, /fetch/files]
  {{- with $models.http.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 256Mi}}
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: fetch, mountPath: /fetch, readOnly: true}
{{- else if eq $models.source "bucket" }}
- name: models
  {{- include "ocelli.models.rclone" . | nindent 2 }}
  command: [sh, /fetch/bucket.sh, /models]
{{- if gt (int $models.bucket.everySeconds) 0 }}
- name: models-watch
  # A sidecar: it starts before the server and ends after it.
  restartPolicy: Always
  {{- include "ocelli.models.rclone" . | nindent 2 }}
  command: [sh, /fetch/bucket.sh, /models, {{ $models.bucket.everySeconds | quote }}]
{{- end }}
{{- end }}
{{- end -}}

{{- define "ocelli.models.rclone" -}}
{{- $bucket := .Values.models.bucket -}}
image: {{ $bucket.image }}
env:
  - {name: REMOTE, value: {{ include "ocelli.models.remote" . | quote }}}
  # The root is read-only.
  - {name: RCLONE_CONFIG, value: /tmp/rclone.conf}
  - {name: XDG_CACHE_HOME, value: /tmp}
{{- with $bucket.secret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
resources:
  {{- toYaml $bucket.resources | nindent 2 }}
volumeMounts:
  - {name: models, mountPath: /models}
  - {name: fetch, mountPath: /fetch, readOnly: true}
  - {name: tmp, mountPath: /tmp}
{{- end -}}

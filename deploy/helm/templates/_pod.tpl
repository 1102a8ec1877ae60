{{/* One Deployment. Takes {root, name, component, processes, own}: `own` holds the placement of these pods. */}}
{{- define "lockstitch.deployment" -}}
{{- $root := .root -}}
{{- $single := eq .component "all-in-one" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- include "lockstitch.labels" (dict "root" $root "component" .component) | nindent 4 }}
spec:
  replicas: {{ if $single }}1{{ else }}{{ .own.replicas | int }}{{ end }}
  strategy:
    {{- if $single }}
    # The next pod must not open the database before this one has let go of it.
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 25%
      maxUnavailable: 0
    {{- end }}
  selector:
    matchLabels:
      {{- include "lockstitch.selectorLabels" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      annotations:
        {{- range .processes }}
        checksum/{{ . }}: {{ include "lockstitch.settings" (dict "root" $root "process" .) | sha256sum }}
        {{- end }}
        {{- with mergeOverwrite (dict) $root.Values.podAnnotations (default dict .own.podAnnotations) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      labels:
        {{- $extra := mergeOverwrite (dict) $root.Values.podLabels (default dict .own.podLabels) }}
        {{- include "lockstitch.labels" (dict "root" $root "component" .component "extra" $extra) | nindent 8 }}
    spec:
      {{- include "lockstitch.podSpec" . | nindent 6 }}
{{- end }}

{{/* Takes what "lockstitch.deployment" takes. */}}
{{- define "lockstitch.podSpec" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "lockstitch.serviceAccountName" .root | quote }}
automountServiceAccountToken: false
# A Service named lockstitch would otherwise set LOCKSTITCH_PORT to a URL.
enableServiceLinks: false
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
# Draining, then the processes' own grace, then time to end in order.
terminationGracePeriodSeconds: {{ add $values.server.drainSeconds $values.shutdownGraceSeconds 15 }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $values.podSecurity.runAsUser | int }}
  runAsGroup: {{ $values.podSecurity.runAsGroup | int }}
  fsGroup: {{ $values.podSecurity.fsGroup | int }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- include "lockstitch.placement" . }}
containers:
  {{- range .processes }}
  {{- include "lockstitch.container" (dict "root" $.root "process" .) | nindent 2 }}
  {{- end }}
volumes:
  {{- range .processes }}
  - name: tmp-{{ . }}
    emptyDir:
      sizeLimit: {{ $values.tmpSize }}
  {{- end }}
  {{- if eq $values.database.type "sqlite" }}
  - name: data
    {{- if $values.database.persistence.enabled }}
    persistentVolumeClaim:
      claimName: {{ include "lockstitch.claimName" .root | quote }}
    {{- else }}
    emptyDir: {}
    {{- end }}
  {{- end }}
{{- end }}

{{/* Where the pods may run: their own values, else those of every pod. Takes what "lockstitch.deployment" takes. */}}
{{- define "lockstitch.placement" -}}
{{- $values := .root.Values }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with default (index $values $key) (index $.own $key) }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with default $values.topologySpreadConstraints .own.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ omit . "labelSelector" | toYaml | nindent 4 | trim }}
    labelSelector:
      {{- if .labelSelector }}
      {{- toYaml .labelSelector | nindent 6 }}
      {{- else }}
      matchLabels:
        {{- include "lockstitch.selectorLabels" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
      {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The container of one process. Takes {root, process}. */}}
{{- define "lockstitch.container" -}}
{{- $values := .root.Values -}}
{{- $own := index $values .process -}}
{{- $isServer := eq .process "server" -}}
- name: {{ .process }}
  image: {{ include "lockstitch.image" .root | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  args: [{{ if $isServer }}serve{{ else }}worker{{ end }}]
  ports:
    {{- if $isServer }}
    - name: http
      containerPort: {{ include "lockstitch.httpPort" . }}
    {{- else }}
    - name: metrics
      containerPort: {{ include "lockstitch.metricsPort" . }}
    {{- end }}
  # Of two sources with the same name the later one counts.
  envFrom:
    {{- with $own.extraEnvFrom }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    - configMapRef:
        name: {{ include "lockstitch.fullname" .root }}-{{ .process }}
  {{- $secrets := include "lockstitch.secretSettings" . | trim }}
  {{- if or $secrets $own.extraEnv }}
  env:
    {{- with $secrets }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $own.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- include "lockstitch.probes" (dict "probes" $values.probes "port" (ternary "http" "metrics" $isServer)) | trim | nindent 2 }}
  {{- if and $isServer $values.server.drainSeconds }}
  lifecycle:
    preStop:
      sleep:
        seconds: {{ $values.server.drainSeconds | int }}
  {{- end }}
  resources:
    {{- toYaml $own.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
  volumeMounts:
    - name: tmp-{{ .process }}
      mountPath: /tmp
    {{- if eq $values.database.type "sqlite" }}
    - name: data
      mountPath: /data
    {{- end }}
{{- end }}

{{/* Takes {probes, port}. */}}
{{- define "lockstitch.probes" -}}
{{- range $name, $path := dict "startup" "/healthz" "liveness" "/healthz" "readiness" "/readyz" }}
{{ $name }}Probe:
  httpGet:
    path: {{ $path }}
    port: {{ $.port }}
  {{- toYaml (index $.probes $name) | nindent 2 }}
{{- end }}
{{- end }}

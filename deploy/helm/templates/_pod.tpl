{{/* One Deployment. Takes {root, specs}: the processes that share its pods; see _processes.tpl. */}}
{{- define "lockstitch.deployment" -}}
{{- $root := .root -}}
{{- $spec := first .specs -}}
{{- $single := gt (len .specs) 1 -}}
{{- $own := ternary dict $spec.own $single -}}
{{- $pod := dict "root" $root "specs" .specs "own" $own "spec" $spec -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $spec.name }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- include "lockstitch.labels" (dict "root" $root "component" $spec.component) | nindent 4 }}
spec:
  {{- with include "lockstitch.replicas" (dict "root" $root "spec" $spec) }}
  replicas: {{ . }}
  {{- end }}
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
      app.kubernetes.io/component: {{ $spec.component }}
  template:
    metadata:
      annotations:
        {{- range .specs }}
        checksum/{{ .process }}: {{ include "lockstitch.settings" (dict "root" $root "spec" .) | sha256sum }}
        {{- end }}
        {{- with mergeOverwrite (dict) $root.Values.podAnnotations (default dict $own.podAnnotations) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      labels:
        {{- $extra := mergeOverwrite (dict) $root.Values.podLabels (default dict $own.podLabels) }}
        {{- include "lockstitch.labels" (dict "root" $root "component" $spec.component "extra" $extra) | nindent 8 }}
    spec:
      {{- include "lockstitch.podSpec" $pod | nindent 6 }}
{{- end }}

{{/*
How many pods the manifest asks for. Under an autoscaler these are the pods that there are: a number that goes from one
manifest to the next counts as removed, and Kubernetes makes that one pod. Nothing where no cluster can be asked
(`helm template`), or where the Deployment is new: a number that stays in a manifest would be set again by those who
apply it time and again, against the autoscaler. Takes {root, spec}.
*/}}
{{- define "lockstitch.replicas" -}}
{{- $scaling := .spec.own.autoscaling -}}
{{- if eq $scaling.type "none" -}}
{{- .spec.own.replicas | int -}}
{{- else -}}
{{- $found := lookup "apps/v1" "Deployment" .root.Release.Namespace .spec.name -}}
{{- if and $found (ne (include "lockstitch.replicasBelongToTheScaler" $found) "true") -}}
{{- $live := $found.spec.replicas | int -}}
{{/* An HPA leaves a Deployment alone that has no pods; KEDA is who may have taken the last one. */}}
{{- ternary ($scaling.minReplicas | int) $live (and (eq $live 0) (eq $scaling.type "hpa")) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
Whether the number of a Deployment stays although the manifest has none: Helm 4 applies on the server's side, and
somebody else has set the number since. To set another one is a conflict then. Takes the Deployment.
*/}}
{{- define "lockstitch.replicasBelongToTheScaler" -}}
{{- $applied := false -}}
{{- $scaled := false -}}
{{- range .metadata.managedFields -}}
{{- if and (eq .operation "Apply") (hasPrefix "helm" .manager) }}{{ $applied = true }}{{ end -}}
{{- if eq (default "" .subresource) "scale" }}{{ $scaled = true }}{{ end -}}
{{- end -}}
{{- and $applied $scaled -}}
{{- end }}

{{/* Takes {root, specs, own, spec}: `own` holds the placement of these pods. */}}
{{- define "lockstitch.podSpec" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ ternary (include "lockstitch.codeServiceAccountName" .root) (include "lockstitch.serviceAccountName" .root) (default false .spec.hardened) | quote }}
{{ include "lockstitch.podBasics" .root }}
# Draining, then the processes' own grace, then time to end in order.
terminationGracePeriodSeconds: {{ add $values.server.drainSeconds $values.shutdownGraceSeconds 15 }}
{{- with .own.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- include "lockstitch.placement" . }}
containers:
  {{- range .specs }}
  {{- include "lockstitch.container" (dict "root" $.root "spec" .) | nindent 2 }}
  {{- end }}
volumes:
  {{- range .specs }}
  - name: tmp-{{ .process }}
    emptyDir:
      sizeLimit: {{ default $values.tmpSize .own.tmpSize }}
  {{- if eq (include "lockstitch.confines" (dict "root" $.root "spec" .)) "true" }}
  # What the supervisor of sandlock keeps there counts as memory of the container.
  - name: shm-{{ .process }}
    emptyDir:
      medium: Memory
      sizeLimit: {{ $values.sandbox.shmSize }}
  {{- end }}
  {{- end }}
  {{- include "lockstitch.sharedVolumes" .root | trim | nindent 2 }}
{{- end }}

{{/* What every pod of the chart has, that of the migrations too. Takes the root. */}}
{{- define "lockstitch.podBasics" -}}
automountServiceAccountToken: false
# A Service named lockstitch would otherwise set LOCKSTITCH_PORT to a URL.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.podSecurity.runAsUser | int }}
  runAsGroup: {{ .Values.podSecurity.runAsGroup | int }}
  fsGroup: {{ .Values.podSecurity.fsGroup | int }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "lockstitch.containerSecurity" -}}
securityContext:
  runAsNonRoot: true
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* Whether a process opens the sandbox. Takes {root, spec}. */}}
{{- define "lockstitch.confines" -}}
{{- and (ne (include "lockstitch.sandbox" .root) "none") (or (has "files" .spec.serves) (has "code" .spec.serves)) -}}
{{- end }}

{{/* The volumes that all containers of a pod share. Takes the root. */}}
{{- define "lockstitch.sharedVolumes" -}}
{{- $values := .Values -}}
{{- if eq $values.database.type "sqlite" }}
- name: data
  {{- if $values.database.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ include "lockstitch.claimName" . | quote }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- with $values.payloads.externalStorage.existingClaim }}
- name: payloads
  persistentVolumeClaim:
    claimName: {{ . | quote }}
{{- end }}
{{- include "lockstitch.databaseTlsVolume" . }}
{{- with $values.temporal.tls }}
{{- if or .caSecret.name .clientCertSecret.name }}
- name: temporal-tls
  projected:
    # 0440: the processes read it as members of fsGroup.
    defaultMode: 288
    sources:
      {{- with .caSecret }}
      {{- if .name }}
      - secret:
          name: {{ .name | quote }}
          items:
            - {key: {{ .key | quote }}, path: ca.crt}
      {{- end }}
      {{- end }}
      {{- with .clientCertSecret }}
      {{- if .name }}
      - secret:
          name: {{ .name | quote }}
          items:
            - {key: {{ .certKey | quote }}, path: tls.crt}
            - {key: {{ .keyKey | quote }}, path: tls.key}
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* With what PostgreSQL's certificate is checked, in each pod that opens the database. Takes the root. */}}
{{- define "lockstitch.databaseTlsVolume" -}}
{{- with .Values.database.tls.caSecret }}
{{- if .name }}
- name: database-tls
  projected:
    # 0440: the processes read it as members of fsGroup.
    defaultMode: 288
    sources:
      - secret:
          name: {{ .name | quote }}
          items:
            - {key: {{ .key | quote }}, path: ca.crt}
{{- end }}
{{- end }}
{{- end }}

{{/* Where it is mounted. Takes the root. */}}
{{- define "lockstitch.databaseTlsMount" -}}
{{- if .Values.database.tls.caSecret.name }}
- name: database-tls
  mountPath: {{ include "lockstitch.databaseTlsFolder" . }}
  readOnly: true
{{- end }}
{{- end }}

{{/* Where the shared volumes are mounted. Takes the root. */}}
{{- define "lockstitch.sharedMounts" -}}
{{- if eq .Values.database.type "sqlite" }}
- name: data
  mountPath: /data
{{- end }}
{{- if .Values.payloads.externalStorage.existingClaim }}
- name: payloads
  mountPath: {{ .Values.payloads.externalStorage.url | trimPrefix "file://" | quote }}
{{- end }}
{{- include "lockstitch.databaseTlsMount" . }}
{{- if or .Values.temporal.tls.caSecret.name .Values.temporal.tls.clientCertSecret.name }}
- name: temporal-tls
  mountPath: {{ include "lockstitch.tlsFolder" . }}
  readOnly: true
{{- end }}
{{- end }}

{{/* Where the pods may run: their own values, else those of every pod. Takes what "lockstitch.podSpec" takes. */}}
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
        app.kubernetes.io/component: {{ $.spec.component }}
      {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The container of one process. Takes {root, spec}. */}}
{{- define "lockstitch.container" -}}
{{- $values := .root.Values -}}
{{- $own := .spec.own -}}
{{- $isServer := eq .spec.kind "server" -}}
- name: {{ .spec.process }}
  image: {{ include "lockstitch.image" . | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  args: [{{ ternary "serve" "worker" $isServer }}]
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
        name: {{ include "lockstitch.fullname" .root }}-{{ .spec.process }}
  {{- $secrets := include "lockstitch.secretEnv" . | trim }}
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
  {{- include "lockstitch.containerSecurity" . | nindent 2 }}
  volumeMounts:
    - name: tmp-{{ .spec.process }}
      mountPath: /tmp
    {{- if eq (include "lockstitch.confines" .) "true" }}
    - name: shm-{{ .spec.process }}
      mountPath: /dev/shm
    {{- end }}
    {{- with include "lockstitch.sharedMounts" .root | trim }}
    {{- . | nindent 4 }}
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

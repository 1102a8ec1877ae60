{{/* Whether the pods that run code are under a policy. Takes the root. */}}
{{- define "lockstitch.codeIsConfined" -}}
{{- and .Values.codeWorkers.enabled (or .Values.networkPolicy.enabled .Values.codeWorkers.networkPolicy.enabled) -}}
{{- end }}

{{/* Who may reach the pods of one Deployment, and whom they may reach. Takes {root, spec}. */}}
{{- define "lockstitch.networkPolicy" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $job := eq .spec.kind "job" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .spec.name }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "lockstitch.labels" (dict "root" .root "component" .spec.component) | nindent 4 }}
  {{- if $job }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: "-10"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "lockstitch.selectorLabels" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .spec.component }}
  policyTypes: [Ingress, Egress]
  {{- with include "lockstitch.allowedIn" . | trim }}
  ingress:
    {{- . | nindent 4 }}
  {{- end }}
  egress:
    {{- include "lockstitch.allowedOut" . | trim | nindent 4 }}
{{- end }}

{{- define "lockstitch.allowedIn" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $serves := or (eq .spec.kind "server") (eq .spec.kind "all") -}}
{{- $works := or (eq .spec.kind "worker") (eq .spec.kind "all") -}}
{{- if $serves }}
{{- with $policy.clients.from }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: http, protocol: TCP}
{{- end }}
{{- end }}
{{- if ne .spec.kind "job" }}
{{- with $policy.metrics.from }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    {{- if $serves }}
    - {port: http, protocol: TCP}
    {{- end }}
    {{- if $works }}
    - {port: metrics, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "lockstitch.allowedOut" -}}
{{- $values := .root.Values -}}
{{- $policy := $values.networkPolicy -}}
{{- $searches := or (has "runs" .spec.serves) (has "files" .spec.serves) (eq .spec.kind "server") (eq .spec.kind "all") -}}
{{- $asksModels := or (has "runs" .spec.serves) (and $searches (eq $values.embeddings.embedder "endpoint")) -}}
{{- include "lockstitch.out" (dict "to" $policy.dns.to "ports" (list 53) "protocols" (list "UDP" "TCP")) }}
{{- if ne .spec.kind "job" }}
{{- include "lockstitch.out" (dict "to" $policy.temporal.to "ports" (list (regexFind "[0-9]+$" $values.temporal.address | int))) }}
{{- end }}
{{- if eq $values.database.type "postgresql" }}
{{- include "lockstitch.out" (dict "to" $policy.database.to "ports" (list $policy.database.port)) }}
{{- end }}
{{- if $asksModels }}
{{- include "lockstitch.out" (dict "to" $policy.models.to "ports" $policy.models.ports) }}
{{- end }}
{{- if .spec.hardened }}
{{- with $values.codeWorkers.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- else }}
{{- with $policy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{/* One way out. Without `to` it leads everywhere. Takes {to, ports} and, unless they are TCP, {protocols}. */}}
{{- define "lockstitch.out" }}
- ports:
    {{- range $port := .ports }}
    {{- range $protocol := default (list "TCP") $.protocols }}
    - {port: {{ $port | int }}, protocol: {{ $protocol }}}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

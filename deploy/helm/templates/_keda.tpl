{{/* What KEDA is told: which task queues of Temporal a Deployment is scaled by. */}}

{{- define "lockstitch.usesKeda" -}}
{{- $found := false -}}
{{- range (include "lockstitch.processes" . | fromJson).items -}}
{{- if eq .own.autoscaling.type "keda" }}{{ $found = true }}{{ end -}}
{{- end -}}
{{- $found -}}
{{- end }}

{{- define "lockstitch.kedaAuthenticates" -}}
{{- or (ne .Values.temporal.apiKeySecret.name "") (ne .Values.temporal.tls.clientCertSecret.name "") -}}
{{- end }}

{{/* One trigger for each task queue that these pods serve. Takes {root, spec}. */}}
{{- define "lockstitch.kedaTriggers" -}}
{{- $temporal := .root.Values.temporal -}}
{{- $keda := .spec.own.autoscaling.keda -}}
{{- $queues := list -}}
{{- range $serves, $queue := dict "runs" $temporal.taskQueue "files" (printf "%s-files" $temporal.taskQueue) "code" (printf "%s-code" $temporal.taskQueue) -}}
{{- if has $serves $.spec.serves }}{{ $queues = append $queues $queue }}{{ end -}}
{{- end -}}
{{- range $queue := concat $queues $keda.taskQueues }}
- type: temporal
  metadata:
    endpoint: {{ $temporal.address | quote }}
    namespace: {{ $temporal.namespace | quote }}
    taskQueue: {{ $queue | quote }}
    queueTypes: {{ ternary "workflow,activity" "activity" (eq $queue $temporal.taskQueue) | quote }}
    targetQueueSize: {{ $keda.targetQueueSize | int | quote }}
    activationTargetQueueSize: {{ $keda.activationTargetQueueSize | int | quote }}
    # KEDA's own default is true.
    enableTLS: {{ $temporal.tls.enabled | quote }}
    {{- with $temporal.tls.serverName }}
    tlsServerName: {{ . | quote }}
    {{- end }}
    {{- if eq (include "lockstitch.versioned" $) "true" }}
    workerDeploymentName: {{ include "lockstitch.deploymentName" $.root | quote }}
    workerDeploymentBuildId: {{ include "lockstitch.buildId" $ | quote }}
    {{- end }}
  {{- if eq (include "lockstitch.kedaAuthenticates" $.root) "true" }}
  authenticationRef:
    name: {{ include "lockstitch.fullname" $.root }}-temporal
  {{- end }}
{{- end }}
{{- with $keda.triggers }}
{{ toYaml . }}
{{- end }}
{{- end }}

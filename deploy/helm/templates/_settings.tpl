{{/*
The settings of the processes. The only place that knows the names of environment variables.
*/}}

{{/* The plain settings of one process, as the data of its ConfigMap. Takes {root, process}. */}}
{{- define "lockstitch.settings" -}}
{{- $values := .root.Values -}}
LOCKSTITCH_TEMPORAL_ADDRESS: {{ $values.temporal.address | quote }}
LOCKSTITCH_TEMPORAL_NAMESPACE: {{ $values.temporal.namespace | quote }}
LOCKSTITCH_TASK_QUEUE: {{ $values.temporal.taskQueue | quote }}
{{- with include "lockstitch.databaseUrl" .root }}
LOCKSTITCH_DATABASE_URL: {{ . | quote }}
{{- end }}
LOCKSTITCH_DATABASE_CONNECTIONS: {{ $values.database.connections | int | quote }}
LOCKSTITCH_DATABASE_AUTO_UPGRADE: {{ $values.database.autoUpgrade | quote }}
LOCKSTITCH_LOG_FORMAT: {{ $values.log.format | quote }}
LOCKSTITCH_LOG_LEVEL: {{ $values.log.level | quote }}
LOCKSTITCH_SHUTDOWN_GRACE_SECONDS: {{ $values.shutdownGraceSeconds | int | quote }}
{{- if eq .process "server" }}
LOCKSTITCH_HOST: "0.0.0.0"
LOCKSTITCH_PORT: {{ include "lockstitch.httpPort" . | quote }}
{{- else }}
LOCKSTITCH_METRICS_HOST: "0.0.0.0"
LOCKSTITCH_METRICS_PORT: {{ include "lockstitch.metricsPort" . | quote }}
LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES: {{ $values.worker.maxConcurrentActivities | int | quote }}
LOCKSTITCH_MODEL: {{ $values.model.provider | quote }}
LOCKSTITCH_MODEL_API: {{ $values.model.api | quote }}
{{- with $values.model.baseUrl }}
OPENAI_BASE_URL: {{ . | quote }}
{{- end }}
{{- with $values.assistants.url }}
LOCKSTITCH_ASSISTANTS_URL: {{ . | quote }}
{{- end }}
{{- with $values.assistants.apiVersion }}
LOCKSTITCH_ASSISTANTS_API_VERSION: {{ . | quote }}
{{- end }}
{{- with $values.assistants.adoptThreads }}
LOCKSTITCH_ADOPT_THREADS: {{ join "," . | quote }}
{{- end }}
LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE: {{ $values.webhook.allowPrivate | quote }}
{{- with $values.decisionLinks.publicUrl }}
LOCKSTITCH_PUBLIC_URL: {{ . | quote }}
{{- end }}
{{- with $values.tools }}
LOCKSTITCH_TOOLS: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The settings that come from Secrets, as entries of a container's env; only names of Secrets. Takes {root, process}. */}}
{{- define "lockstitch.secretSettings" -}}
{{- $values := .root.Values -}}
{{- with $values.database.existingSecret }}
{{- if .name }}
- name: LOCKSTITCH_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with $values.model.existingSecret }}
{{- if and .name (eq $.process "worker") }}
- name: OPENAI_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with $values.assistants.existingSecret }}
{{- if and .name (eq $.process "worker") }}
- name: LOCKSTITCH_ASSISTANTS_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with $values.webhook.existingSecret }}
{{- if and .name (eq $.process "worker") }}
- name: LOCKSTITCH_WEBHOOK_URL
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .urlKey | quote }}
- name: LOCKSTITCH_WEBHOOK_SECRETS
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .secretsKey | quote }}
{{- end }}
{{- end }}
{{- with $values.decisionLinks.existingSecret }}
{{- if .name }}
- name: LOCKSTITCH_LINK_SECRETS
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The database's URL where it may be read by everybody; empty when a Secret holds it. */}}
{{- define "lockstitch.databaseUrl" -}}
{{- if eq .Values.database.type "sqlite" -}}
{{- default "sqlite:////data/lockstitch.db" .Values.database.url -}}
{{- else -}}
{{- .Values.database.url -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.httpPort" -}}8700{{- end }}
{{- define "lockstitch.metricsPort" -}}9464{{- end }}

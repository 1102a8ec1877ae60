{{/*
The settings of the processes. The only place that knows the names of environment variables.

A setting whose value is empty or off is left out, so that a process of an older version, which may not know it, starts.
*/}}

{{/* The plain settings of one process, as the data of its ConfigMap. Takes {root, spec}. */}}
{{- define "lockstitch.settings" -}}
{{- $settings := include "lockstitch.settingsOfAll" . | fromYaml -}}
{{- $parts := ternary (list "server" "search") (list "worker") (eq .spec.kind "server") -}}
{{- if has "runs" .spec.serves }}{{ $parts = concat $parts (list "runs" "handlers") }}{{ end -}}
{{- if has "tools" .spec.serves }}{{ $parts = append $parts "handlers" }}{{ end -}}
{{- if or (has "runs" .spec.serves) (has "files" .spec.serves) }}{{ $parts = append $parts "search" }}{{ end -}}
{{- if or (has "files" .spec.serves) (has "code" .spec.serves) }}{{ $parts = append $parts "sessions" }}{{ end -}}
{{- range uniq $parts -}}
{{- $settings = merge $settings (include (printf "lockstitch.settingsOf.%s" .) $ | fromYaml) -}}
{{- end -}}
{{- range .spec.without }}{{ $_ := unset $settings . }}{{ end -}}
{{- toYaml $settings -}}
{{- end }}

{{/* What every process reads. */}}
{{- define "lockstitch.settingsOfAll" -}}
{{- $values := .root.Values -}}
LOCKSTITCH_TEMPORAL_ADDRESS: {{ $values.temporal.address | quote }}
LOCKSTITCH_TEMPORAL_NAMESPACE: {{ $values.temporal.namespace | quote }}
LOCKSTITCH_TASK_QUEUE: {{ $values.temporal.taskQueue | quote }}
{{- with $values.temporal.tls }}
{{- if .enabled }}
LOCKSTITCH_TEMPORAL_TLS: "true"
{{- with .serverName }}
LOCKSTITCH_TEMPORAL_TLS_SERVER_NAME: {{ . | quote }}
{{- end }}
{{- if .caSecret.name }}
LOCKSTITCH_TEMPORAL_TLS_CA: {{ include "lockstitch.tlsFolder" . }}/ca.crt
{{- end }}
{{- if .clientCertSecret.name }}
LOCKSTITCH_TEMPORAL_TLS_CERT: {{ include "lockstitch.tlsFolder" . }}/tls.crt
LOCKSTITCH_TEMPORAL_TLS_KEY: {{ include "lockstitch.tlsFolder" . }}/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- with $values.payloads.externalStorage }}
{{- if .url }}
LOCKSTITCH_PAYLOAD_STORE: {{ .url | quote }}
LOCKSTITCH_PAYLOAD_STORE_OVER_KIB: {{ .overKib | int | quote }}
{{- end }}
{{- end }}
{{- include "lockstitch.settingsOfTheDatabase" . }}
LOCKSTITCH_EMBEDDER: {{ $values.embeddings.embedder | quote }}
LOCKSTITCH_SANDBOX: {{ include "lockstitch.sandbox" .root | quote }}
LOCKSTITCH_SHUTDOWN_GRACE_SECONDS: {{ $values.shutdownGraceSeconds | int | quote }}
{{- if $values.tracing.endpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ $values.tracing.endpoint | quote }}
{{- with $values.tracing.serviceName }}
OTEL_SERVICE_NAME: {{ . | quote }}
{{- end }}
{{- if ne (float64 $values.tracing.ratio) 1.0 }}
OTEL_TRACES_SAMPLER_ARG: {{ $values.tracing.ratio | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where the database is, how it is used, and how it is logged: all that `lockstitch db upgrade` needs too. */}}
{{- define "lockstitch.settingsOfTheDatabase" -}}
{{- $values := .root.Values -}}
{{- with include "lockstitch.databaseUrl" .root }}
LOCKSTITCH_DATABASE_URL: {{ . | quote }}
{{- end }}
LOCKSTITCH_DATABASE_CONNECTIONS: {{ $values.database.connections | int | quote }}
LOCKSTITCH_DATABASE_AUTO_UPGRADE: {{ and $values.database.autoUpgrade (not $values.database.migrations.enabled) | quote }}
LOCKSTITCH_LOG_FORMAT: {{ $values.log.format | quote }}
LOCKSTITCH_LOG_LEVEL: {{ $values.log.level | quote }}
{{- end }}

{{- define "lockstitch.settingsOf.server" -}}
{{- $values := .root.Values -}}
LOCKSTITCH_HOST: "0.0.0.0"
LOCKSTITCH_PORT: {{ include "lockstitch.httpPort" . | quote }}
LOCKSTITCH_REQUEST_TIMEOUT_SECONDS: {{ $values.server.requestTimeoutSeconds | int | quote }}
LOCKSTITCH_MAX_STREAMS: {{ $values.server.maxStreams | int | quote }}
LOCKSTITCH_MAX_STREAMS_PER_KEY: {{ $values.server.maxStreamsPerKey | int | quote }}
{{- include "lockstitch.publicUrl" . }}
{{- with $values.temporal.uiUrl }}
LOCKSTITCH_TEMPORAL_UI_URL: {{ . | quote }}
{{- end }}
{{- with $values.codecServer.origins }}
LOCKSTITCH_CODEC_ORIGINS: {{ join "," . | quote }}
{{- end }}
{{- end }}

{{- define "lockstitch.settingsOf.worker" -}}
LOCKSTITCH_METRICS_HOST: "0.0.0.0"
LOCKSTITCH_METRICS_PORT: {{ include "lockstitch.metricsPort" . | quote }}
LOCKSTITCH_WORKER_SERVES: {{ join "," .spec.serves | quote }}
LOCKSTITCH_MAX_CONCURRENT_ACTIVITIES: {{ default .root.Values.worker.maxConcurrentActivities .spec.own.maxConcurrentActivities | int | quote }}
{{- with .root.Values.metrics.tenantClasses }}
LOCKSTITCH_TENANT_CLASSES: {{ join "," . | quote }}
{{- end }}
{{- if eq (include "lockstitch.versioned" .) "true" }}
LOCKSTITCH_DEPLOYMENT_NAME: {{ include "lockstitch.deploymentName" .root | quote }}
LOCKSTITCH_BUILD_ID: {{ include "lockstitch.buildId" . | quote }}
{{- end }}
{{- end }}

{{- define "lockstitch.publicUrl" -}}
{{- with .root.Values.decisionLinks.publicUrl }}
LOCKSTITCH_PUBLIC_URL: {{ . | quote }}
{{- end }}
{{- end }}

{{/* What takes model turns, reaches other servers and people. */}}
{{- define "lockstitch.settingsOf.runs" -}}
{{- $values := .root.Values -}}
LOCKSTITCH_MODEL: {{ $values.model.provider | quote }}
LOCKSTITCH_MODEL_API: {{ $values.model.api | quote }}
LOCKSTITCH_MODEL_TIMEOUT_SECONDS: {{ $values.model.timeoutSeconds | int | quote }}
LOCKSTITCH_MODEL_CONTEXT_TOKENS: {{ $values.model.contextTokens | int | quote }}
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
LOCKSTITCH_DELIVERIES_KEPT_DAYS: {{ $values.webhook.deliveriesKeptDays | int | quote }}
{{- include "lockstitch.publicUrl" . }}
{{- with $values.metrics.modelPrices }}
LOCKSTITCH_MODEL_PRICES: {{ join "," . | quote }}
{{- end }}
{{- with $values.metrics.budgetDollarsPerDay }}
LOCKSTITCH_BUDGET_DOLLARS_PER_DAY: {{ . | int | quote }}
{{- end }}
{{- end }}

{{- define "lockstitch.settingsOf.handlers" -}}
{{- with default .root.Values.tools .spec.own.tools }}
LOCKSTITCH_TOOLS: {{ join "," . | quote }}
{{- end }}
{{- end }}

{{/* What searches by meaning, and what makes searching possible. */}}
{{- define "lockstitch.settingsOf.search" -}}
{{- with .root.Values.embeddings }}
{{- if eq .embedder "endpoint" }}
{{- with .url }}
LOCKSTITCH_EMBEDDINGS_URL: {{ . | quote }}
{{- end }}
LOCKSTITCH_EMBEDDINGS_MODEL: {{ .model | quote }}
LOCKSTITCH_EMBEDDINGS_DIMENSIONS: {{ .dimensions | int | quote }}
LOCKSTITCH_EMBEDDINGS_TIMEOUT_SECONDS: {{ .timeoutSeconds | int | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The limits of what runs in the sandbox. */}}
{{- define "lockstitch.settingsOf.sessions" -}}
{{- if ne (include "lockstitch.sandbox" .root) "none" }}
{{- with .root.Values.sandbox }}
{{- with .python }}
LOCKSTITCH_SANDBOX_PYTHON: {{ . | quote }}
{{- end }}
LOCKSTITCH_SANDBOX_WARM_KERNELS: {{ .warmKernels | int | quote }}
LOCKSTITCH_SANDBOX_MEMORY_MIB: {{ .memoryMib | int | quote }}
LOCKSTITCH_SANDBOX_PROCESSES: {{ .processes | int | quote }}
LOCKSTITCH_SANDBOX_WALL_SECONDS: {{ .wallSeconds | int | quote }}
LOCKSTITCH_SANDBOX_CPU_SECONDS: {{ .cpuSeconds | int | quote }}
LOCKSTITCH_SANDBOX_DISK_MIB: {{ .diskMib | int | quote }}
LOCKSTITCH_SANDBOX_OUTPUT_KIB: {{ .outputKib | int | quote }}
LOCKSTITCH_SANDBOX_FILES: {{ .files | int | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The settings that come from Secrets: which key of which Secret, by the variable. Takes {root, spec}. */}}
{{- define "lockstitch.secretSettings" -}}
{{- $values := .root.Values -}}
{{- $runs := has "runs" .spec.serves -}}
{{- $searches := or $runs (has "files" .spec.serves) (eq .spec.kind "server") -}}
{{- $secrets := dict
      "LOCKSTITCH_DATABASE_URL" $values.database.existingSecret
      "LOCKSTITCH_TEMPORAL_API_KEY" $values.temporal.apiKeySecret
      "LOCKSTITCH_PAYLOAD_KEYS" $values.payloads.encryption.existingSecret
      "OTEL_EXPORTER_OTLP_HEADERS" $values.tracing.existingSecret -}}
{{- if $searches }}{{ $_ := set $secrets "LOCKSTITCH_EMBEDDINGS_API_KEY" $values.embeddings.existingSecret }}{{ end -}}
{{- if or $runs (eq .spec.kind "server") }}{{ $_ := set $secrets "LOCKSTITCH_LINK_SECRETS" $values.decisionLinks.existingSecret }}{{ end -}}
{{- if $runs -}}
{{- $_ := set $secrets "OPENAI_API_KEY" $values.model.existingSecret -}}
{{- $_ := set $secrets "LOCKSTITCH_ASSISTANTS_API_KEY" $values.assistants.existingSecret -}}
{{- with $values.webhook.existingSecret -}}
{{- $_ := set $secrets "LOCKSTITCH_WEBHOOK_URL" (dict "name" .name "key" .urlKey) -}}
{{- $_ := set $secrets "LOCKSTITCH_WEBHOOK_SECRETS" (dict "name" .name "key" .secretsKey) -}}
{{- end -}}
{{- end -}}
{{- range .spec.without }}{{ $_ := unset $secrets . }}{{ end -}}
{{- range $variable, $secret := $secrets }}
{{- if $secret.name }}
{{ $variable }}: {{ toJson $secret }}
{{- end }}
{{- end }}
{{- end }}

{{/* Every variable that comes from a Secret, as a YAML list. */}}
{{- define "lockstitch.secretVariables" -}}
- LOCKSTITCH_ASSISTANTS_API_KEY
- LOCKSTITCH_DATABASE_URL
- LOCKSTITCH_EMBEDDINGS_API_KEY
- LOCKSTITCH_LINK_SECRETS
- LOCKSTITCH_PAYLOAD_KEYS
- LOCKSTITCH_TEMPORAL_API_KEY
- LOCKSTITCH_WEBHOOK_SECRETS
- LOCKSTITCH_WEBHOOK_URL
- OPENAI_API_KEY
- OTEL_EXPORTER_OTLP_HEADERS
{{- end }}

{{/* Those settings as entries of a container's env. Takes what "lockstitch.secretSettings" takes. */}}
{{- define "lockstitch.secretEnv" -}}
{{- range $variable, $secret := include "lockstitch.secretSettings" . | fromYaml }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name | quote }}
      key: {{ $secret.key | quote }}
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
{{- define "lockstitch.tlsFolder" -}}/etc/lockstitch/temporal-tls{{- end }}
{{- define "lockstitch.databaseTlsFolder" -}}/etc/lockstitch/database-tls{{- end }}

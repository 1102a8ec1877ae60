{{/*
Values that each look right and contradict each other; the schema sees the rest.
Each ends the rendering with one sentence that says what to change.
*/}}

{{- define "lockstitch.checks" -}}
{{- if eq .Values.database.type "sqlite" -}}
{{- include "lockstitch.checks.sqlite" . -}}
{{- else -}}
{{- include "lockstitch.checks.postgresql" . -}}
{{- end -}}
{{- include "lockstitch.checks.model" . -}}
{{- include "lockstitch.checks.assistants" . -}}
{{- include "lockstitch.checks.extraEnv" (dict "root" . "process" "server") -}}
{{- include "lockstitch.checks.extraEnv" (dict "root" . "process" "worker") -}}
{{- if and .Values.decisionLinks.existingSecret.name (not .Values.decisionLinks.publicUrl) -}}
{{- fail "decisionLinks.existingSecret.name is set and decisionLinks.publicUrl is empty: say where people reach the server, or they could not follow the links." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled is true and ingress.hosts is empty: name at least one host." -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.checks.sqlite" -}}
{{- $database := .Values.database -}}
{{- range $process := list "server" "worker" -}}
{{- $own := index $.Values $process -}}
{{- if ne (int $own.replicas) 1 -}}
{{- fail (printf "%s.replicas is %d and database.type is sqlite: a SQLite database lives in one pod, so leave it at 1 or use database.type postgresql." $process (int $own.replicas)) -}}
{{- end -}}
{{- range $key := list "podAnnotations" "podLabels" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" -}}
{{- if index $own $key -}}
{{- fail (printf "%s.%s is set and database.type is sqlite: server and worker share one pod, so set %s at the top level." $process $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $database.existingSecret.name -}}
{{- fail "database.existingSecret.name is set and database.type is sqlite: a SQLite URL is no secret, so set database.type to postgresql or leave the name empty." -}}
{{- end -}}
{{- if and $database.url (not (regexMatch "^sqlite:////data/[^/]" $database.url)) -}}
{{- fail "database.url does not begin with sqlite:////data/ and database.type is sqlite: the volume is mounted at /data, so put the file there or set database.type to postgresql." -}}
{{- end -}}
{{- if and $database.persistence.existingClaim (not $database.persistence.enabled) -}}
{{- fail "database.persistence.existingClaim is set and database.persistence.enabled is false: enable persistence or leave the claim empty." -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.checks.postgresql" -}}
{{- $database := .Values.database -}}
{{- if and $database.url $database.existingSecret.name -}}
{{- fail "database.url and database.existingSecret.name are both set: give the URL of the PostgreSQL database in one of them." -}}
{{- end -}}
{{- if not (or $database.url $database.existingSecret.name) -}}
{{- fail "database.type is postgresql and its URL is missing: name a Secret in database.existingSecret.name, or set database.url when it holds no password." -}}
{{- end -}}
{{- if and $database.url (not (regexMatch "^postgresql(\\+[a-z0-9]+)?://" $database.url)) -}}
{{- fail "database.url does not begin with postgresql:// and database.type is postgresql." -}}
{{- end -}}
{{- if or (regexMatch "://[^/?#@]*:[^/?#]*@" $database.url) (regexMatch "[?&]password=" $database.url) -}}
{{- fail "database.url holds a password: put the URL into a Secret and name that in database.existingSecret.name." -}}
{{- end -}}
{{- if $database.persistence.existingClaim -}}
{{- fail "database.persistence.existingClaim is set and database.type is postgresql: the claim is for a SQLite database only." -}}
{{- end -}}
{{- end }}

{{/* A key may also come with the worker's own variables, so those end the search. */}}
{{- define "lockstitch.checks.model" -}}
{{- $model := .Values.model -}}
{{- $elsewhere := or .Values.worker.extraEnv .Values.worker.extraEnvFrom -}}
{{- if and (eq $model.provider "openai") (not (or $model.existingSecret.name $model.baseUrl $elsewhere)) -}}
{{- fail "model.provider is openai and there is neither a key nor an endpoint: name a Secret in model.existingSecret.name, or set model.baseUrl to an endpoint that asks for no key." -}}
{{- end -}}
{{- end }}

{{/* The URL may also come with the worker's own variables, so those end the search. */}}
{{- define "lockstitch.checks.assistants" -}}
{{- $assistants := .Values.assistants -}}
{{- $elsewhere := or .Values.worker.extraEnv .Values.worker.extraEnvFrom -}}
{{- if and (or $assistants.existingSecret.name $assistants.apiVersion) (not (or $assistants.url $elsewhere)) -}}
{{- fail "assistants.existingSecret.name or assistants.apiVersion is set and assistants.url is empty: say which server they are for." -}}
{{- end -}}
{{- end }}

{{/* A name that stands twice in a container's env is refused by the API server on upgrade. Takes {root, process}. */}}
{{- define "lockstitch.checks.extraEnv" -}}
{{- $taken := keys (include "lockstitch.settings" . | fromYaml) -}}
{{- $taken = concat $taken (list "LOCKSTITCH_DATABASE_URL" "OPENAI_API_KEY" "LOCKSTITCH_ASSISTANTS_API_KEY") -}}
{{- $taken = concat $taken (list "LOCKSTITCH_WEBHOOK_URL" "LOCKSTITCH_WEBHOOK_SECRETS" "LOCKSTITCH_LINK_SECRETS") -}}
{{- range index .root.Values .process "extraEnv" -}}
{{- if has .name $taken -}}
{{- fail (printf "%s.extraEnv sets %s, which the chart sets from a value of its own: use that value." $.process .name) -}}
{{- end -}}
{{- end -}}
{{- end }}

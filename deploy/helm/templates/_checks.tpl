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
{{- range $part := list "model" "assistants" "temporal" "payloads" "groups" "sandbox" "versions" "autoscaling" "alerts" "network" -}}
{{- include (printf "lockstitch.checks.%s" $part) $ -}}
{{- end -}}
{{- range (include "lockstitch.processes" . | fromJson).items -}}
{{- include "lockstitch.checks.extraEnv" (dict "root" $ "spec" .) -}}
{{- end -}}
{{- if and .Values.decisionLinks.existingSecret.name (not .Values.decisionLinks.publicUrl) -}}
{{- fail "decisionLinks.existingSecret.name is set and decisionLinks.publicUrl is empty: say where people reach the server, or they could not follow the links." -}}
{{- end -}}
{{- if and .Values.tracing.existingSecret.name (not .Values.tracing.endpoint) -}}
{{- fail "tracing.existingSecret.name is set and tracing.endpoint is empty: say which collector the headers are for." -}}
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
{{- if ne $own.autoscaling.type "none" -}}
{{- fail (printf "%s.autoscaling.type is %s and database.type is sqlite: a SQLite database lives in one pod, so set it to none or use database.type postgresql." $process $own.autoscaling.type) -}}
{{- end -}}
{{- range $key := list "podAnnotations" "podLabels" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "runtimeClassName" "tmpSize" -}}
{{- if index $own $key -}}
{{- fail (printf "%s.%s is set and database.type is sqlite: server and worker share one pod, so set %s at the top level." $process $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $.Values.codeWorkers.enabled -}}
{{- fail "codeWorkers.enabled is true and database.type is sqlite: a SQLite database lives in one pod, so add code to worker.serves and set sandbox.type, or use database.type postgresql." -}}
{{- end -}}
{{- if or $.Values.workerGroups $.Values.worker.previousVersions -}}
{{- fail "workerGroups or worker.previousVersions is set and database.type is sqlite: a SQLite database lives in one pod, so leave them empty or use database.type postgresql." -}}
{{- end -}}
{{- if $database.migrations.enabled -}}
{{- fail "database.migrations.enabled is true and database.type is sqlite: the volume may be in use then, so leave the upgrade to the processes or use database.type postgresql." -}}
{{- end -}}
{{- if $database.existingSecret.name -}}
{{- fail "database.existingSecret.name is set and database.type is sqlite: a SQLite URL is no secret, so set database.type to postgresql or leave the name empty." -}}
{{- end -}}
{{- if $database.tls.caSecret.name -}}
{{- fail "database.tls.caSecret.name is set and database.type is sqlite: a SQLite database is a file, so leave the name empty or set database.type to postgresql." -}}
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
{{- $authority := printf "sslrootcert=%s/ca.crt" (include "lockstitch.databaseTlsFolder" .) -}}
{{- if and $database.url $database.tls.caSecret.name (not (contains $authority $database.url)) -}}
{{- fail (printf "database.tls.caSecret.name is set and database.url does not have %s: nothing would be checked against that authority, so add sslmode=verify-full&%s to the URL." $authority $authority) -}}
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

{{- define "lockstitch.checks.temporal" -}}
{{- $temporal := .Values.temporal -}}
{{- with $temporal.tls -}}
{{- if and (not .enabled) (or .serverName .caSecret.name .clientCertSecret.name) -}}
{{- fail "temporal.tls.serverName, temporal.tls.caSecret.name or temporal.tls.clientCertSecret.name is set and temporal.tls.enabled is false: set it to true." -}}
{{- end -}}
{{- if and $temporal.apiKeySecret.name (not .enabled) -}}
{{- fail "temporal.apiKeySecret.name is set and temporal.tls.enabled is false: the key would be sent in clear text, so set temporal.tls.enabled to true." -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.checks.payloads" -}}
{{- $store := .Values.payloads.externalStorage -}}
{{- $inFolder := hasPrefix "file://" $store.url -}}
{{- if and $store.existingClaim (not $inFolder) -}}
{{- fail "payloads.externalStorage.existingClaim is set and payloads.externalStorage.url does not begin with file:///: say in which folder the volume is mounted." -}}
{{- end -}}
{{- if and $inFolder (not $store.existingClaim) (not (and (eq .Values.database.type "sqlite") (hasPrefix "file:///data/" $store.url))) -}}
{{- fail "payloads.externalStorage.url is a folder that not every pod shares: name a claim of the access mode ReadWriteMany in payloads.externalStorage.existingClaim, or use s3://." -}}
{{- end -}}
{{- if and .Values.codecServer.origins (not (or .Values.payloads.encryption.existingSecret.name $store.url)) -}}
{{- fail "codecServer.origins is set and payloads are neither encrypted nor stored elsewhere: set payloads.encryption.existingSecret.name, or leave the origins empty." -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.checks.groups" -}}
{{- range $name, $group := .Values.workerGroups -}}
{{- if or (has $name (list "server" "worker" "code" "metrics" "migrations" "temporal")) (hasPrefix "worker-" $name) -}}
{{- fail (printf "workerGroups.%s has a name that the chart uses itself: choose another one." $name) -}}
{{- end -}}
{{- end -}}
{{- range $serves := list "runs" "files" -}}
{{- $found := false -}}
{{- range (include "lockstitch.processes" $ | fromJson).items -}}
{{- if and (has $serves .serves) (not .buildId) }}{{ $found = true }}{{ end -}}
{{- end -}}
{{- if not $found -}}
{{- fail (printf "no worker serves %s: add it to worker.serves, or have a group of workerGroups for it." $serves) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.checks.sandbox" -}}
{{- $sandbox := include "lockstitch.sandbox" . -}}
{{- $runsCode := false -}}
{{- range (include "lockstitch.processes" . | fromJson).items -}}
{{- if has "code" .serves }}{{ $runsCode = true }}{{ end -}}
{{- end -}}
{{- if and .Values.codeWorkers.enabled (eq $sandbox "none") -}}
{{- fail "codeWorkers.enabled is true and sandbox.type is none: leave sandbox.type empty, or set it to sandlock." -}}
{{- end -}}
{{- if and (ne $sandbox "none") (not $runsCode) -}}
{{- fail (printf "sandbox.type is %s and no worker serves code: set codeWorkers.enabled to true, or add code to worker.serves." $sandbox) -}}
{{- end -}}
{{- if and $runsCode (eq $sandbox "none") -}}
{{- fail "a worker serves code and sandbox.type is empty or none: set sandbox.type to sandlock." -}}
{{- end -}}
{{- if and .Values.codeWorkers.enabled (not (dig "limits" "memory" "" .Values.codeWorkers.resources)) -}}
{{- fail "codeWorkers.resources.limits.memory is missing: code can use all the memory of its node then, so set a limit." -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.checks.versions" -}}
{{- $names := dict -}}
{{- $versioned := list -}}
{{- $unversioned := list -}}
{{- range (include "lockstitch.processes" . | fromJson).items -}}
{{- if eq (include "lockstitch.versioned" (dict "root" $ "spec" .)) "true" }}{{ $versioned = concat $versioned .serves }}{{ else }}{{ $unversioned = concat $unversioned .serves }}{{ end -}}
{{- end -}}
{{- range $serves := list "tools" "files" "code" -}}
{{- if and (has $serves $versioned) (has $serves $unversioned) -}}
{{- fail (printf "worker.versioning.enabled is true and %s are served by workers that carry runs and by a group that does not: Temporal would hand the group none of them, so take %s out of one of the two." $serves $serves) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.worker.previousVersions (not .Values.worker.versioning.enabled) -}}
{{- fail "worker.previousVersions is set and worker.versioning.enabled is false: Temporal does not tell versions apart then, so set it to true or leave the list empty." -}}
{{- end -}}
{{- range .Values.worker.previousVersions -}}
{{- $name := include "lockstitch.inAName" .buildId -}}
{{- if hasKey $names $name -}}
{{- fail (printf "worker.previousVersions names the build id %s twice, or one that reads the same as the name of a Deployment: give each version an entry and a build id of its own." .buildId) -}}
{{- end -}}
{{- $_ := set $names $name "previous" -}}
{{- if not (or .tag .digest) -}}
{{- fail (printf "worker.previousVersions names the build id %s and neither a tag nor a digest: say which image it is." .buildId) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.checks.autoscaling" -}}
{{- range (include "lockstitch.processes" . | fromJson).items -}}
{{- $path := ternary (ternary "codeWorkers" .process (eq .process "code")) (printf "workerGroups.%s" .process) (has .process (list "server" "worker" "code")) -}}
{{- $scaling := .own.autoscaling -}}
{{- if and (ne $scaling.type "none") (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.minReplicas is larger than maxReplicas." $path) -}}
{{- end -}}
{{- if eq $scaling.type "hpa" -}}
{{- include "lockstitch.checks.hpa" (dict "path" $path "own" .own) -}}
{{- else if and (eq $scaling.type "keda") (not (include "lockstitch.kedaTriggers" (dict "root" $ "spec" .) | trim)) -}}
{{- fail (printf "%s.autoscaling.type is keda and there is nothing to scale by: name the task queues of its tools in keda.taskQueues, or set keda.triggers." $path) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "lockstitch.usesKeda" .) "true" -}}
{{- $tls := .Values.temporal.tls -}}
{{- if and $tls.enabled (ne (include "lockstitch.kedaAuthenticates" .) "true") -}}
{{- fail "autoscaling.type is keda and temporal.tls.enabled is true without temporal.apiKeySecret.name or temporal.tls.clientCertSecret.name: KEDA speaks TLS to Temporal only with one of them, so set one, or use autoscaling.type hpa." -}}
{{- end -}}
{{- if and $tls.caSecret.name (not $tls.clientCertSecret.name) -}}
{{- fail "autoscaling.type is keda and temporal.tls.caSecret.name is set without temporal.tls.clientCertSecret.name: KEDA uses an authority of your own only together with a client certificate, so set one, or use autoscaling.type hpa." -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Takes {path, own}. */}}
{{- define "lockstitch.checks.hpa" -}}
{{- $hpa := .own.autoscaling.hpa -}}
{{- if lt (int .own.autoscaling.minReplicas) 1 -}}
{{- fail (printf "%s.autoscaling.minReplicas is 0 and its type is hpa: an HPA keeps one pod at least, so set it to 1 or use keda." .path) -}}
{{- end -}}
{{- if not (or $hpa.cpu $hpa.memory $hpa.metrics) -}}
{{- fail (printf "%s.autoscaling.type is hpa and there is nothing to scale by: set hpa.cpu, hpa.memory or hpa.metrics." .path) -}}
{{- end -}}
{{- range $resource := list "cpu" "memory" -}}
{{- if and (index $hpa $resource) (not (dig "requests" $resource "" $.own.resources)) -}}
{{- fail (printf "%s.autoscaling.hpa.%s is set and %s.resources.requests.%s is missing: a percentage needs something that it is of." $.path $resource $.path $resource) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.checks.alerts" -}}
{{- $known := (include "lockstitch.alertNames" . | fromJson).items -}}
{{- range .Values.alerts.disabled -}}
{{- if not (has . $known) -}}
{{- fail (printf "alerts.disabled names %s, and there is no such alert: there are %s." . (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What the network policies are not told and the pods need: a process that cannot reach the store of payloads does not start. */}}
{{- define "lockstitch.checks.network" -}}
{{- if hasPrefix "s3://" .Values.payloads.externalStorage.url -}}
{{- if and (eq (include "lockstitch.codeIsConfined" .) "true") (not .Values.codeWorkers.networkPolicy.extraEgress) -}}
{{- fail "payloads.externalStorage.url begins with s3:// and codeWorkers.networkPolicy.extraEgress is empty: the pods that run code could not reach the store, so say there where it is, or switch their network policy off." -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.extraEgress) -}}
{{- fail "payloads.externalStorage.url begins with s3://, networkPolicy.enabled is true and networkPolicy.extraEgress is empty: the pods could not reach the store, so say there where it is." -}}
{{- end -}}
{{- end -}}
{{- $embeds := and (has "files" .Values.codeWorkers.serves) (eq .Values.embeddings.embedder "endpoint") -}}
{{- if and (eq (include "lockstitch.codeIsConfined" .) "true") $embeds (not .Values.networkPolicy.models.to) -}}
{{- fail "codeWorkers.serves has files, embeddings.embedder is endpoint and networkPolicy.models.to is empty: the pods that run code could reach everything on those ports, so say there where the endpoint is, or have files served by others." -}}
{{- end -}}
{{- $confined := or .Values.networkPolicy.enabled (eq (include "lockstitch.codeIsConfined" .) "true") -}}
{{- if and .Values.metrics.serviceMonitor.enabled $confined (not .Values.networkPolicy.metrics.from) -}}
{{- fail (printf "metrics.serviceMonitor.enabled is true and networkPolicy.metrics.from is empty: the network policy of %s would keep Prometheus out, so say there where it is." (ternary "every pod" "the pods that run code" .Values.networkPolicy.enabled)) -}}
{{- end -}}
{{- end }}

{{/* A name that stands twice in a container's env is refused by the API server on upgrade. Takes {root, spec}. */}}
{{- define "lockstitch.checks.extraEnv" -}}
{{- $taken := concat (keys (include "lockstitch.settings" . | fromYaml)) (include "lockstitch.secretVariables" . | fromYamlArray) -}}
{{- range .spec.own.extraEnv -}}
{{- if has .name $taken -}}
{{- fail (printf "%s.extraEnv sets %s, which the chart sets from a value of its own: use that value." $.spec.process .name) -}}
{{- end -}}
{{- end -}}
{{- end }}

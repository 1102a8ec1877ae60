{{/*
Which processes there are. Everything that exists once for each of them (Deployment, ConfigMap, disruption budget,
autoscaler, network policy) goes through this list.
*/}}

{{/*
JSON {items: [spec, ...]}. A spec is {process, kind, component, name, serves, own}, and for a worker of an older
version {image, buildId, without}. `process` names the container and the ConfigMap, `kind` is server or worker,
`component` is the label that selects the pods, `name` the Deployment, `own` the values of these pods.
*/}}
{{- define "lockstitch.processes" -}}
{{- $values := .Values -}}
{{- $fullname := include "lockstitch.fullname" . -}}
{{- $single := eq $values.database.type "sqlite" -}}
{{- $specs := list
      (dict "process" "server" "kind" "server" "serves" list "own" $values.server)
      (dict "process" "worker" "kind" "worker" "serves" $values.worker.serves "own" $values.worker) -}}
{{- if $values.codeWorkers.enabled -}}
{{- $specs = append $specs (dict "process" "code" "kind" "worker" "serves" $values.codeWorkers.serves "own" $values.codeWorkers "hardened" true) -}}
{{- end -}}
{{- range $name, $group := $values.workerGroups -}}
{{- $own := include "lockstitch.ownOfGroup" (dict "worker" $values.worker "group" $group) | fromJson -}}
{{- $specs = append $specs (dict "process" $name "kind" "worker" "serves" $group.serves "own" $own) -}}
{{- end -}}
{{- range $version := $values.worker.previousVersions -}}
{{- $process := printf "worker-%s" (include "lockstitch.inAName" $version.buildId) | trunc 50 | trimSuffix "-" -}}
{{- $own := mergeOverwrite (deepCopy $values.worker) (dict "replicas" (default 1 $version.replicas) "autoscaling" (dict "type" "none")) -}}
{{- $image := dict "tag" (default "" $version.tag) "digest" (default "" $version.digest) -}}
{{- $specs = append $specs (dict "process" $process "kind" "worker" "serves" $values.worker.serves "own" $own "image" $image "buildId" $version.buildId "without" (default list $version.without)) -}}
{{- end -}}
{{- range $specs -}}
{{- $_ := set . "component" (ternary "all-in-one" .process $single) -}}
{{- $_ := set . "name" (ternary $fullname (printf "%s-%s" $fullname .process) $single) -}}
{{- end -}}
{{- dict "items" $specs | toJson -}}
{{- end }}

{{/* What a group does not say is that of `worker`, but for the number of its pods. Takes {worker, group}; JSON. */}}
{{- define "lockstitch.ownOfGroup" -}}
{{- $inherited := omit .worker "replicas" "autoscaling" "versioning" "previousVersions" -}}
{{- $scaling := mergeOverwrite (deepCopy .worker.autoscaling) (dict "type" "none") (default dict .group.autoscaling) -}}
{{- $own := dict "replicas" 1 -}}
{{- range $key, $value := $inherited }}{{ $_ := set $own $key $value }}{{ end -}}
{{- range $key, $value := .group }}{{ $_ := set $own $key $value }}{{ end -}}
{{- set $own "autoscaling" $scaling | toJson -}}
{{- end }}

{{/* A text as a part of an object's name. */}}
{{- define "lockstitch.inAName" -}}
{{- . | lower | replace "_" "-" | replace "." "-" | replace "+" "-" | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The version under which Temporal knows the workers: the image's tag, or the beginning of its digest. Takes {root, spec}. */}}
{{- define "lockstitch.buildId" -}}
{{- $values := .root.Values -}}
{{- $digest := ternary $values.image.codeDigest $values.image.digest (eq (include "lockstitch.needsExtras" .) "true") -}}
{{- if .spec.buildId -}}
{{- .spec.buildId -}}
{{- else if $values.worker.versioning.buildId -}}
{{- $values.worker.versioning.buildId -}}
{{- else if $digest -}}
{{- $digest | trimPrefix "sha256:" | trunc 12 -}}
{{- else -}}
{{- default .root.Chart.AppVersion $values.image.tag -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.deploymentName" -}}
{{- default (include "lockstitch.fullname" .) .Values.worker.versioning.deploymentName -}}
{{- end }}

{{/* Whether Temporal tells the versions of these workers apart: those that carry runs. Takes {root, spec}. */}}
{{- define "lockstitch.versioned" -}}
{{- and .root.Values.worker.versioning.enabled (has "runs" .spec.serves) -}}
{{- end }}

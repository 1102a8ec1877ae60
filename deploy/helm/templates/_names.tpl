{{/* Names, labels and the image: what every object of the chart shares. */}}

{{- define "lockstitch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* Cut at 50 characters: the longest suffix, and Kubernetes' own for pods, still fit into a label of 63. */}}
{{- define "lockstitch.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "lockstitch.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.codeServiceAccountName" -}}
{{- if .Values.codeWorkers.serviceAccount.create -}}
{{- default (printf "%s-code" (include "lockstitch.fullname" .)) .Values.codeWorkers.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.codeWorkers.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "lockstitch.claimName" -}}
{{- default (printf "%s-data" (include "lockstitch.fullname" .)) .Values.database.persistence.existingClaim -}}
{{- end }}

{{- define "lockstitch.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lockstitch.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/*
The labels of one object. Takes {root} and, where they apply, {component, extra}.
Those that selectors rest on win over labels that the values add.
*/}}
{{- define "lockstitch.labels" -}}
{{- $root := .root -}}
{{- $standard := include "lockstitch.selectorLabels" $root | fromYaml -}}
{{- $_ := set $standard "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- $_ := set $standard "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $standard "app.kubernetes.io/part-of" "lockstitch" -}}
{{- $_ := set $standard "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- with .component }}{{ $_ := set $standard "app.kubernetes.io/component" . }}{{ end -}}
{{- mergeOverwrite (dict) $root.Values.commonLabels (default dict .extra) $standard | toYaml -}}
{{- end }}

{{/*
The image of one process: the one with the extras where it needs them. Takes {root, spec}; the tag and the digest of
a previous version come before those of the values.
*/}}
{{- define "lockstitch.image" -}}
{{- $image := .root.Values.image -}}
{{- $version := default dict .spec.image -}}
{{- $extras := eq (include "lockstitch.needsExtras" .) "true" -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{- ternary $image.codeRepository $image.repository $extras -}}
{{- if $version -}}
:{{ default $.root.Chart.AppVersion $version.tag }}{{ with $version.digest }}@{{ . }}{{ end -}}
{{- else -}}
:{{ default $.root.Chart.AppVersion $image.tag }}{{ with ternary $image.codeDigest $image.digest $extras }}@{{ . }}{{ end -}}
{{- end -}}
{{- end }}

{{/* Whether a process needs the packages that search by meaning, read documents and run code. Takes {root, spec}. */}}
{{- define "lockstitch.needsExtras" -}}
{{- $confines := and (ne (include "lockstitch.sandbox" .root) "none") (or (has "files" .spec.serves) (has "code" .spec.serves)) -}}
{{- or $confines (ne .root.Values.embeddings.embedder "none") -}}
{{- end }}

{{/* What confines code and the reading of documents: the same for every process. */}}
{{- define "lockstitch.sandbox" -}}
{{- default (ternary "sandlock" "none" .Values.codeWorkers.enabled) .Values.sandbox.type -}}
{{- end }}

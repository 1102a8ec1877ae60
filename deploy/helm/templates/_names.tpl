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

{{- define "lockstitch.claimName" -}}
{{- default (printf "%s-data" (include "lockstitch.fullname" .)) .Values.database.persistence.existingClaim -}}
{{- end }}

{{- define "lockstitch.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lockstitch.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Under SQLite one pod is both server and worker. Takes {root, process}. */}}
{{- define "lockstitch.component" -}}
{{- if eq .root.Values.database.type "sqlite" }}all-in-one{{ else }}{{ .process }}{{ end -}}
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

{{- define "lockstitch.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- with .digest }}@{{ . }}{{ end -}}
{{- end -}}
{{- end }}

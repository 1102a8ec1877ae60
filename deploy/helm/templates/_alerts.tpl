{{/* The rules of rules/*.yaml, as the values want them. */}}

{{/* The groups of one file, without the alerts that are switched off. Takes {root, path}. */}}
{{- define "lockstitch.ruleGroups" -}}
{{- $alerts := .root.Values.alerts -}}
{{- $groups := list -}}
{{- range $group := (.root.Files.Get .path | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- if not (has (default "" $rule.alert) $alerts.disabled) -}}
{{- $rules = append $rules (include "lockstitch.rule" (dict "alerts" $alerts "rule" $rule) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- if $rules }}{{ $groups = append $groups (set $group "rules" $rules) }}{{ end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end }}

{{/* One rule, with the labels of the values and a runbook that leads somewhere. Takes {alerts, rule}; JSON. */}}
{{- define "lockstitch.rule" -}}
{{- $rule := deepCopy .rule -}}
{{- if $rule.alert -}}
{{- $_ := set $rule "labels" (mergeOverwrite (default dict $rule.labels) .alerts.ruleLabels) -}}
{{- $annotations := default dict $rule.annotations -}}
{{- if and $annotations.runbook_url .alerts.runbookBaseUrl -}}
{{- $base := printf "%s/" (.alerts.runbookBaseUrl | trimSuffix "/") -}}
{{- $_ := set $annotations "runbook_url" ($annotations.runbook_url | replace "https://runbooks.invalid/" $base) -}}
{{- else -}}
{{- $_ := unset $annotations "runbook_url" -}}
{{- end -}}
{{- $_ := set $rule "annotations" $annotations -}}
{{- end -}}
{{- toJson $rule -}}
{{- end }}

{{/* The names of all alerts, as JSON {items: [...]}. Takes the root. */}}
{{- define "lockstitch.alertNames" -}}
{{- $names := list -}}
{{- range $path, $_ := .Files.Glob "rules/*.yaml" -}}
{{- range $group := ($.Files.Get $path | fromYaml).groups -}}
{{- range $rule := $group.rules }}{{ with $rule.alert }}{{ $names = append $names . }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- dict "items" $names | toJson -}}
{{- end }}

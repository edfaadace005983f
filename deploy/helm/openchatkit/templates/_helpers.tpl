{{- define "openchatkit.name" -}}
{{ printf "%s" .Release.Name | trunc 50 | trimSuffix "-" }}-openchatkit
{{- end }}

{{- define "openchatkit.labels" -}}
app.kubernetes.io/name: openchatkit
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

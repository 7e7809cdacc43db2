{{/* The name of everything: sidecars know the Service by it, the control plane its Lease and webhooks. */}}
{{- define "tulle.name" -}}tulle{{- end }}

{{- define "tulle.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "tulle.selector" -}}
app.kubernetes.io/name: {{ include "tulle.name" . }}
{{- end }}

{{- define "tulle.labels" -}}
{{ include "tulle.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Namespaces no webhook looks at: the cluster's own parts, and ours, which must come up without itself. */}}
{{- define "tulle.outside" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: {{ concat (list "kube-system" .Release.Namespace) .Values.injection.excludedNamespaces | uniq | toJson }}
{{- end }}

{{- define "tulle.webhook" -}}
admissionReviewVersions: [v1]
sideEffects: None
matchPolicy: Equivalent
clientConfig:
  # caBundle is not set here: the control plane keeps it, and a field Helm does not set survives every upgrade.
  service:
    name: {{ include "tulle.name" .root }}
    namespace: {{ .root.Release.Namespace }}
    path: {{ .path }}
    port: 443
{{- end }}

{{/* The pod's own word, as CEL: its annotation, else its label. */}}
{{- define "tulle.ownAnnotation" -}}
has(object.metadata.annotations) && 'tulle.dev/inject' in object.metadata.annotations
{{- end }}
{{- define "tulle.ownLabel" -}}
has(object.metadata.labels) && 'tulle.dev/inject' in object.metadata.labels
{{- end }}

{{/* The name of everything: sidecars know the Service by it, the control plane its Lease and webhooks. */}}
{{- define "tulle.name" -}}tulle{{- end }}

{{- define "tulle.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The names of what others bring. One that is ours for something else would be read as what it is not, and written over. */}}
{{- define "tulle.caSecret" -}}
{{- if eq .Values.ca.secret (printf "%s-signing" (include "tulle.name" .)) }}
{{- fail (printf "ca.secret is %s: the control plane keeps the issuer in use there; bring one in a Secret of another name" .Values.ca.secret) }}
{{- end }}
{{- .Values.ca.secret }}
{{- end }}
{{- define "tulle.rootsConfigMap" -}}
{{- if eq .Values.ca.rootsConfigMap (printf "%s-trust" (include "tulle.name" .)) }}
{{- fail (printf "ca.rootsConfigMap is %s: the control plane remembers the mesh's own roots there; lend further ones in a ConfigMap of another name" .Values.ca.rootsConfigMap) }}
{{- end }}
{{- .Values.ca.rootsConfigMap }}
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

{{/* Whether a template does not say what its workload says, as CEL: silent or other where the workload speaks, marked as its own where that is silent. */}}
{{- define "tulle.differs" -}}
{{- $t := .template -}}
{{- $inside := printf "has(%s.metadata) && has(%s.metadata.annotations)" $t $t -}}
{{- $word := printf "%s.metadata.annotations['tulle.dev/inject']" $t -}}
{{- $mark := printf "%s.metadata.annotations['tulle.dev/injected-by']" $t -}}
{{- $marked := printf "%s && 'tulle.dev/injected-by' in %s.metadata.annotations" $inside $t -}}
({{ .own }})
? (({{ $inside }} && 'tulle.dev/inject' in {{ $t }}.metadata.annotations)
? ({{ $marked }} && {{ $word }} != object.metadata.annotations['tulle.dev/inject'])
: !(has({{ $t }}.metadata) && has({{ $t }}.metadata.labels) && 'tulle.dev/inject' in {{ $t }}.metadata.labels))
: ({{ $marked }} && ({{ $mark }} == request.kind.kind + '/' + (has(object.metadata.generateName) ? object.metadata.generateName : object.metadata.name)
|| ({{ $mark }} == 'operator' && has(oldObject.metadata.annotations) && 'tulle.dev/inject' in oldObject.metadata.annotations)))
{{- end }}

{{/* Whether the operator has no rights but in its namespaces: not empty where it is so. */}}
{{- define "resumable-sweep.isNamespaced" -}}
{{- if eq .Values.rbac.scope "namespace" }}yes{{ end }}
{{- end -}}

{{/* Refuses values of which a part would lie outside namespaces although nothing shall. */}}
{{- define "resumable-sweep.checkScope" -}}
{{- if include "resumable-sweep.isNamespaced" . -}}
{{- $mend := list -}}
{{- if not .Values.operator.watchNamespaces -}}
{{- $mend = append $mend "name the namespaces of the sweeps in operator.watchNamespaces, which is empty" -}}
{{- end -}}
{{- if .Values.crds.enabled -}}
{{- $mend = append $mend "set crds.enabled=false, and have crds/resumable.dev_resumablesweeps.yaml applied by somebody who may" -}}
{{- end -}}
{{- if .Values.rbac.aggregate -}}
{{- $mend = append $mend "set rbac.aggregate=false, and grant the use of sweeps by roles of your own" -}}
{{- end -}}
{{- if .Values.tenancy.authorPolicy -}}
{{- $mend = append $mend "set tenancy.authorPolicy=false, and name service accounts in tenancy.serviceAccounts" -}}
{{- end -}}
{{- with $mend -}}
{{- fail (printf "rbac.scope is namespace, so that nothing lies outside namespaces: %s" (join "; " .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

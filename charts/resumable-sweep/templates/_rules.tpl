{{/* What the operator may do in the namespaces whose sweeps it runs. It reads no Secret and holds no cloud credentials. */}}
{{- define "resumable-sweep.namespacedRules" -}}
- apiGroups: [resumable.dev]
  resources: [resumablesweeps]
  # Deleted are sweeps that say so themselves, by ttlSecondsAfterFinished.
  verbs: [get, list, watch, delete]
- apiGroups: [resumable.dev]
  resources: [resumablesweeps/status]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
# Items written in a sweep reach the pod that resolves them in a ConfigMap which that sweep owns.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* What is cluster-wide by nature: nodes, the review of the tokens by which pods prove who they are, and which
priority class every pod gets that names none. */}}
{{- define "resumable-sweep.clusterRules" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch]
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [scheduling.k8s.io]
  resources: [priorityclasses]
  verbs: [get]
{{- end -}}

{{/* Whether the API server is to ask what a sweep's author may do: not empty where it is. Older ones cannot. */}}
{{- define "resumable-sweep.asksForAuthors" -}}
{{- if and .Values.tenancy.authorPolicy (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}yes{{ end }}
{{- end -}}

{{/* The service accounts that the pods of sweeps may have. */}}
{{- define "resumable-sweep.serviceAccounts" -}}
{{- $unsaid := include "resumable-sweep.asksForAuthors" . | empty | not | ternary "*/*" "*/default" }}
{{- .Values.tenancy.serviceAccounts | join "," | default $unsaid }}
{{- end -}}

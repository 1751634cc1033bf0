{{/* What the operator may do in the namespaces whose sweeps it runs. It reads no Secret and holds no cloud credentials. */}}
{{- define "resumable-sweep.namespacedRules" -}}
- apiGroups: [resumable.dev]
  resources: [resumablesweeps]
  verbs: [get, list, watch]
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

{{/* What is cluster-wide by nature: nodes, and the review of the tokens by which pods prove who they are. */}}
{{- define "resumable-sweep.clusterRules" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch]
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
{{- end -}}

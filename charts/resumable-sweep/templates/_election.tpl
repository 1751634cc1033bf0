{{/* Whether several operators elect the one that decides: not empty where it is so. */}}
{{- define "resumable-sweep.elects" -}}
{{- if gt (int .Values.operator.replicas) 1 }}yes{{ end }}
{{- end -}}

{{/* The affinity of the operators: they prefer to be apart, unless the values say something else of that. */}}
{{- define "resumable-sweep.affinity" -}}
{{- $affinity := deepCopy .Values.operator.affinity -}}
{{- if and (include "resumable-sweep.elects" .) (not (hasKey $affinity "podAntiAffinity")) -}}
{{- $apart := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (include "resumable-sweep.selector" . | fromYaml)) -}}
{{- $preferred := list (dict "weight" 100 "podAffinityTerm" $apart) -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" $preferred) -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}

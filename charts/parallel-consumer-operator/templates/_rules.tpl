{{/* What the operator may do in each namespace that it looks after; the same in a ClusterRole and in a Role. */}}
{{- define "operator.rules" -}}
# The resources themselves: read, never written.
- apiGroups: [parallelconsumer.dev]
  resources: [parallelconsumers]
  verbs: [get, list, watch]
- apiGroups: [parallelconsumer.dev]
  resources: [parallelconsumers/status]
  verbs: [patch]
# What a resource is made into. Server-side apply is a patch, and a create where there is nothing yet.
- apiGroups: [""]
  resources: [configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
# One of the two runs the pods; the other one goes when spec.source.kafka.membership changes.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# Those that a resource may have and may stop having.
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors, prometheusrules]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Pods are looked at, and touched so that the kubelet brings new settings at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
# Secrets that a resource names: read to notice that they are missing or have changed.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# Its own, and those about pods that are stuck.
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, create, patch]
{{- end -}}

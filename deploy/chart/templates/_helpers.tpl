{{/* Agents are found by the first two of these (nodes/shells/kubernetes/agents.ts). Call with (list $ "component"). */}}
{{- define "undrop.selector" -}}
app.kubernetes.io/name: undrop
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- define "undrop.labels" -}}
{{ include "undrop.selector" . }}
{{- with first . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- end }}

{{/* Call with (list $ .Values.images.agent). */}}
{{- define "undrop.image" -}}
{{- $root := first . }}{{ $image := last . }}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}
{{- else }}{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Objects of the whole cluster carry the namespace, so that two installations do not share one. */}}
{{- define "undrop.clusterName" -}}
undrop:{{ .Release.Namespace }}:read
{{- end }}

{{- define "undrop.inventory" -}}
{{- $kubernetes := dict "namespace" .Release.Namespace "image" (include "undrop.image" (list . .Values.images.agent)) }}
{{- $policy := ternary (dict "policy" "/etc/undrop-policy/policy.yaml") dict (ne (include "undrop.policy" .) "") }}
{{- mergeOverwrite (dict "name" .Release.Name "kubernetes" $kubernetes) $policy (deepCopy .Values.inventory) | toYaml }}
{{- end }}

{{/* Name of the ConfigMap with the policy; empty where there is none. */}}
{{- define "undrop.policy" -}}
{{- with .Values.policy }}
{{- if and .configMap .content }}{{ fail "policy: give configMap or content, not both" }}{{ end }}
{{- if .configMap }}{{ .configMap }}{{ else if .content }}undrop-policy{{ end }}
{{- end }}
{{- end }}

{{- define "undrop.shared" -}}
{{- if and .Values.worker.persistence.enabled (has "ReadWriteMany" .Values.worker.persistence.accessModes) }}yes{{ end }}
{{- end }}

{{/* The gateway's configuration: it listens for the pod's network, whatever else it is told. */}}
{{- define "undrop.gatewayConfig" -}}
{{- mergeOverwrite (dict "listen" (dict "host" "0.0.0.0" "port" 8420)) (deepCopy .Values.gateway.config) | toYaml }}
{{- end }}

{{- define "undrop.gatewayScheme" -}}
{{ ternary "https" "http" (hasKey .Values.gateway.config "tls") }}
{{- end }}

{{/* What agents and changer have in common. Call with (list $ "component" .Values.agent). */}}
{{- define "undrop.daemonSet" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $values := index . 2 -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: undrop-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "undrop.labels" (list $root $component) | nindent 4 }}
spec:
  selector:
    matchLabels:
      {{- include "undrop.selector" (list $root $component) | nindent 6 }}
  updateStrategy:
    rollingUpdate: { maxUnavailable: 25% }
  template:
    metadata:
      labels:
        {{- include "undrop.labels" (list $root $component) | nindent 8 }}
    spec:
      serviceAccountName: undrop-{{ $component }}
      # It speaks to nobody: the worker comes to it, by exec.
      automountServiceAccountToken: false
      enableServiceLinks: false
      hostPID: true
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      # A node in trouble is where it is needed.
      tolerations: [{ operator: Exists }]
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: agent
          image: {{ include "undrop.image" (list $root $root.Values.images.agent) | quote }}
          imagePullPolicy: {{ $root.Values.images.agent.pullPolicy }}
          command: [sleep, infinity]
          resources: {{- toYaml $values.resources | nindent 12 }}
{{- end }}

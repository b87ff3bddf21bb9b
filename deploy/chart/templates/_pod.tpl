{{/* What worker, gateway and the Job of schedules have in common: they run the same image, and speak to Temporal. */}}

{{/* The inventory and the policy beside it, as every undrop reads them. Another inventory is another process. */}}
{{- define "undrop.annotations" -}}
undrop.dev/inventory: {{ include "undrop.inventory" . | sha256sum }}
{{- end }}

{{- define "undrop.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "undrop.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Spread over nodes where that is possible. Call with (list $ "component"). */}}
{{- define "undrop.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "undrop.selector" . | nindent 6 }}
{{- end }}

{{- define "undrop.env" -}}
- { name: HOME, value: /var/lib/undrop }
- { name: UNDROP_DATA, value: /var/lib/undrop/data }
# The image has the workflows bundled; compiled code is kept where it can be written.
- { name: XDG_CACHE_HOME, value: /opt/undrop/.cache }
- { name: NODE_COMPILE_CACHE, value: /var/cache/undrop }
- { name: UNDROP_INVENTORY, value: /etc/undrop/undrop.yaml }
{{- with .Values.temporal }}
- { name: TEMPORAL_ADDRESS, value: {{ .address | quote }} }
- { name: TEMPORAL_NAMESPACE, value: {{ .namespace | quote }} }
{{- if .apiKeySecret }}
- name: TEMPORAL_API_KEY
  valueFrom: { secretKeyRef: { name: {{ .apiKeySecret | quote }}, key: {{ .apiKeySecretKey | quote }} } }
{{- end }}
{{- if or .tls.enabled .tls.clientSecret .tls.caSecret }}
- { name: TEMPORAL_TLS, value: 'true' }
{{- end }}
{{- if .tls.clientSecret }}
- { name: TEMPORAL_TLS_CLIENT_CERT_PATH, value: /etc/temporal/client/tls.crt }
- { name: TEMPORAL_TLS_CLIENT_KEY_PATH, value: /etc/temporal/client/tls.key }
{{- end }}
{{- if .tls.caSecret }}
- { name: TEMPORAL_TLS_SERVER_CA_CERT_PATH, value: /etc/temporal/ca/ca.crt }
{{- end }}
{{- with .tls.serverName }}
- { name: TEMPORAL_TLS_SERVER_NAME, value: {{ . | quote }} }
{{- end }}
{{- end }}
{{- end }}

{{/* Mounts of the volumes below. Data is each one's own. */}}
{{- define "undrop.mounts" -}}
- { name: inventory, mountPath: /etc/undrop, readOnly: true }
{{- if include "undrop.policy" . }}
# Not by subPath: an edited policy holds as soon as the kubelet has written it.
- { name: policy, mountPath: /etc/undrop-policy, readOnly: true }
{{- end }}
- { name: cache, mountPath: /var/cache/undrop }
- { name: tmp, mountPath: /tmp }
{{- if .Values.temporal.tls.clientSecret }}
- { name: temporal-client, mountPath: /etc/temporal/client, readOnly: true }
{{- end }}
{{- if .Values.temporal.tls.caSecret }}
- { name: temporal-ca, mountPath: /etc/temporal/ca, readOnly: true }
{{- end }}
{{- end }}

{{- define "undrop.volumes" -}}
- name: inventory
  configMap: { name: undrop-inventory }
{{- with include "undrop.policy" . }}
- name: policy
  configMap: { name: {{ . | quote }} }
{{- end }}
- name: cache
  emptyDir: { sizeLimit: 256Mi }
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- with .Values.temporal.tls.clientSecret }}
- name: temporal-client
  secret: { secretName: {{ . }} }
{{- end }}
{{- with .Values.temporal.tls.caSecret }}
- name: temporal-ca
  secret: { secretName: {{ . }} }
{{- end }}
{{- end }}

{{/* A claim that outlives the release. Call with (list $ "component" "name" .Values.worker.persistence). */}}
{{- define "undrop.claim" -}}
{{- $root := index . 0 }}{{ $persistence := index . 3 -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ index . 2 }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "undrop.labels" (list $root (index . 1)) | nindent 4 }}
  annotations:
    # What was recorded is not thrown away with a release.
    helm.sh/resource-policy: keep
spec:
  accessModes: {{- toYaml $persistence.accessModes | nindent 4 }}
  {{- with $persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources: { requests: { storage: {{ $persistence.size }} } }
{{- end }}

{{- define "undrop.peers" -}}
{{- range . }}
- ipBlock: { cidr: {{ . | quote }} }
{{- end }}
{{- end }}

{{- define "undrop.ports" -}}
{{- range . }}
- { protocol: TCP, port: {{ . }} }
{{- end }}
{{- end }}

{{/* All of them reach Temporal and names; what else they reach, and who reaches them, follows. Call with (list $ "component"). */}}
{{- define "undrop.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: undrop-{{ last . }}
  namespace: {{ (first .).Release.Namespace }}
  labels: {{- include "undrop.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "undrop.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  egress:
    # Temporal.
    - to: {{- include "undrop.peers" (first .).Values.networkPolicy.temporal.cidrs | trim | nindent 8 }}
      ports:
        - { protocol: TCP, port: {{ splitList ":" (first .).Values.temporal.address | last }} }
    # Names.
    - to: {{- include "undrop.peers" (first .).Values.networkPolicy.dns.cidrs | trim | nindent 8 }}
      ports:
        - { protocol: UDP, port: 53 }
        - { protocol: TCP, port: 53 }
{{- end }}

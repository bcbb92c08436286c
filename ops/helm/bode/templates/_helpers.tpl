{{- define "bode.labels" -}}
app.kubernetes.io/name: bode
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "bode.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What every pod has: nobody, without rights in the cluster, on a read-only file system. */}}
{{- define "bode.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
initContainers:
  # Bode reads a key only from a file that is its own, and Kubernetes lets the group read what it mounts.
  - name: keys
    image: {{ include "bode.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: ["/bin/sh", "-euc", "umask 077; cp -L /run/keys/*.key /var/lib/bode/keys/; chmod 600 /var/lib/bode/keys/*.key"]
    securityContext: {{- include "bode.container" . | nindent 6 }}
    volumeMounts:
      - { name: mounted-keys, mountPath: /run/keys, readOnly: true }
      - { name: keys, mountPath: /var/lib/bode/keys }
{{- end }}

{{- define "bode.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "bode.environment" -}}
- { name: BODE_CONFIG, value: /etc/bode/bode.toml }
- { name: BODE_SECRETS, value: /run/secrets/bode }
{{- end }}

{{- define "bode.mounts" -}}
- { name: config, mountPath: /etc/bode, readOnly: true }
- { name: settings, mountPath: /run/secrets/bode, readOnly: true }
- { name: keys, mountPath: /var/lib/bode/keys }
- { name: tmp, mountPath: /tmp }
{{- end }}

{{- define "bode.volumes" -}}
- { name: config, configMap: { name: {{ .Release.Name }}-config } }
- { name: settings, secret: { secretName: {{ .Values.secrets.settings }} } }
- { name: mounted-keys, secret: { secretName: {{ .Values.secrets.keys }} } }
- { name: keys, emptyDir: { medium: Memory } }
- { name: tmp, emptyDir: {} }
{{- end }}

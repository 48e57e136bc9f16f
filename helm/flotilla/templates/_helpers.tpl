{{- define "flotilla.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "flotilla.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "flotilla.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "flotilla.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "flotilla.selector" -}}
app.kubernetes.io/name: {{ include "flotilla.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "flotilla.labels" -}}
{{ include "flotilla.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "flotilla.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "flotilla.secretName" -}}
{{- default (include "flotilla.fullname" .) .Values.existingSecret -}}
{{- end -}}

{{/* The host name of publicUrl: what probes ask for, because Django answers to host names that it knows only. */}}
{{- define "flotilla.host" -}}
{{- $url := required "publicUrl is needed: the address that people and pods use, such as https://flotilla.example.com" .Values.publicUrl -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse $url).host "" -}}
{{- end -}}

{{- define "flotilla.secretData" -}}
{{- $ask := "is needed unless existingSecret names a Secret; docs/operations.md has the command that makes it" -}}
FLOTILLA_SECRET_KEY: {{ required (printf "secrets.secretKey %s" $ask) .Values.secrets.secretKey | b64enc | quote }}
FLOTILLA_CREDENTIALS_KEYS: {{ required (printf "secrets.credentialsKeys %s" $ask) .Values.secrets.credentialsKeys | b64enc | quote }}
DATABASE_URL: {{ required (printf "secrets.databaseUrl %s" $ask) .Values.secrets.databaseUrl | b64enc | quote }}
REDIS_URL: {{ required (printf "secrets.redisUrl %s" $ask) .Values.secrets.redisUrl | b64enc | quote }}
{{- end -}}

{{/* Takes (dict "root" $ "secret" name): what every process reads. */}}
{{- define "flotilla.env" -}}
{{- $root := .root -}}
{{- $secret := .secret -}}
{{- range list "FLOTILLA_SECRET_KEY" "FLOTILLA_CREDENTIALS_KEYS" "DATABASE_URL" "REDIS_URL" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ . }}
{{- end }}
- name: FLOTILLA_ENV
  value: production
- name: FLOTILLA_PUBLIC_URL
  value: {{ $root.Values.publicUrl | quote }}
- name: FLOTILLA_ALLOWED_HOSTS
  value: {{ prepend $root.Values.allowedHosts (include "flotilla.host" $root) | uniq | join "," | quote }}
- name: FLOTILLA_BEHIND_TLS_PROXY
  value: {{ $root.Values.behindTlsProxy | quote }}
- name: FLOTILLA_HEARTBEAT_FILE
  value: /tmp/alive
- name: FLOTILLA_NAMESPACE
  value: {{ $root.Release.Namespace | quote }}
{{- with $root.Values.modelServerImage }}
- name: FLOTILLA_MODEL_SERVER_IMAGE
  value: {{ . | quote }}
{{- end }}
{{- with $root.Values.artifacts }}
{{- if .url }}
- name: FLOTILLA_ARTIFACTS_URL
  value: {{ .url | quote }}
- name: FLOTILLA_ARTIFACTS_ENDPOINT
  value: {{ .endpoint | quote }}
- name: FLOTILLA_ARTIFACTS_REGION
  value: {{ .region | quote }}
{{- $credentials := .credentialsSecret }}
{{- range ternary (list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY") list (ne $credentials "") }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $credentials }}
      key: {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := $root.Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "flotilla.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "flotilla.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "flotilla.placement" -}}
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
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The hash starts new pods for new secrets. */}}
{{- define "flotilla.podAnnotations" -}}
{{- $hash := dict -}}
{{- if not .Values.existingSecret -}}
{{- $hash = dict "flotilla.dev/secrets" (include "flotilla.secretData" . | sha256sum) -}}
{{- end -}}
{{- with merge $hash .Values.podAnnotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/*
One Deployment. Takes (dict "root" $ "component" name "command" list "probes" yaml "tmp" size "grace" seconds
"replicas" number or nothing where an autoscaler decides "recreate" bool "artifacts" bool "env" yaml "ports" yaml).
*/}}
{{- define "flotilla.deployment" -}}
{{- $root := .root -}}
{{- $values := index $root.Values .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "flotilla.fullname" $root }}-{{ .component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  {{- if hasKey . "replicas" }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    type: {{ ternary "Recreate" "RollingUpdate" .recreate }}
  selector:
    matchLabels:
      {{- include "flotilla.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      labels:
        {{- include "flotilla.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
        {{- with $root.Values.podLabels }}{{ toYaml . | nindent 8 }}{{ end }}
      {{- with include "flotilla.podAnnotations" $root }}
      annotations: {{- . | nindent 8 }}
      {{- end }}
    spec:
      {{- if and $root.Values.manager.enabled $root.Values.manager.inCluster }}
      # The kubelet mounts a short-lived token and renews it: Flotilla reads the file at each use.
      serviceAccountName: {{ include "flotilla.fullname" $root }}-manager
      automountServiceAccountToken: true
      {{- else }}
      serviceAccountName: {{ include "flotilla.fullname" $root }}
      automountServiceAccountToken: false
      {{- end }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ .grace }}
      securityContext: {{- include "flotilla.podSecurity" $root | nindent 8 }}
      {{- with include "flotilla.placement" $root | trim }}{{ . | nindent 6 }}{{ end }}
      {{- if not .recreate }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "flotilla.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ .component }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "flotilla.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: {{- toYaml .command | nindent 12 }}
          env:
            {{- include "flotilla.env" (dict "root" $root "secret" (include "flotilla.secretName" $root)) | trim | nindent 12 }}
            {{- with .env }}{{ . | nindent 12 }}{{ end }}
          {{- with .ports }}
          ports: {{- . | nindent 12 }}
          {{- end }}
          {{- .probes | nindent 10 }}
          resources: {{- toYaml $values.resources | nindent 12 }}
          securityContext: {{- include "flotilla.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if .artifacts }}
            - {name: artifacts, mountPath: /data}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: {{ .tmp }}}
        {{- if .artifacts }}
        - name: artifacts
          persistentVolumeClaim:
            claimName: {{ include "flotilla.claim" $root }}
        {{- end }}
{{- end -}}

{{- define "flotilla.claim" -}}
{{- default (printf "%s-artifacts" (include "flotilla.fullname" .)) .Values.artifacts.existingClaim -}}
{{- end -}}

{{/* Takes (dict "file" path "seconds" age): a probe of a process without a port. */}}
{{- define "flotilla.fileProbes" -}}
{{- $command := list "python" "/app/controlplane/healthcheck.py" "file" .file (toString .seconds) -}}
startupProbe:
  exec: {command: {{ toJson $command }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 48
livenessProbe:
  exec: {command: {{ toJson $command }}}
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* The name that all objects begin with. 55 characters leave room for "-gateway" within the 63 of a label. */}}
{{- define "maskserve.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- end -}}

{{- define "maskserve.server" -}}{{ include "maskserve.fullname" . }}-server{{- end -}}
{{- define "maskserve.gateway" -}}{{ include "maskserve.fullname" . }}-gateway{{- end -}}

{{/* Labels of an object. Takes (list $ NAME). */}}
{{- define "maskserve.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/part-of: maskserve
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image's reference. Takes (list $ IMAGE). */}}
{{- define "maskserve.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default (index . 0).Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* What confines a pod, and each of its containers. Not values: the images need no more. */}}
{{- define "maskserve.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "maskserve.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where a pod may run. Takes the values of server or gateway. */}}
{{- define "maskserve.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "maskserve.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Annotations of a pod: a scrape by annotation, where no ServiceMonitor does it. Takes (list $ PORT VALUES). */}}
{{- define "maskserve.podAnnotations" -}}
{{- $annotations := dict -}}
{{- if not (index . 0).Values.serviceMonitor.enabled -}}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" (index . 1) -}}
{{- end -}}
{{- with merge (dict) (index . 2).podAnnotations $annotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Egress to DNS. */}}
{{- define "maskserve.dnsEgress" -}}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: kube-system}
      podSelector:
        matchLabels: {k8s-app: kube-dns}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{/* Egress to the collector: the port of its address. */}}
{{- define "maskserve.tracingEgress" -}}
{{- $url := urlParse .Values.tracing.endpoint -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Values.tracing.namespace }}}
  ports:
    - {port: {{ default (ternary "443" "80" (eq $url.scheme "https")) $port }}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "maskserve.check" -}}
{{- with .Values.server.autoscaling -}}
{{- if and .enabled (lt (int .maxReplicas) (int .minReplicas)) -}}
{{- fail (printf "server.autoscaling.maxReplicas is %v, fewer than minReplicas, which is %v: raise the first or lower the second" .maxReplicas .minReplicas) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.gateway.enabled) -}}
{{- fail "ingress.enabled needs the gateway: set gateway.enabled=true, or leave the ingress out" -}}
{{- end -}}
{{- if and .Values.tracing.endpoint .Values.networkPolicy.enabled (not .Values.tracing.namespace) -}}
{{- fail "tracing.endpoint needs tracing.namespace, the collector's namespace: without it the network policies stop all spans" -}}
{{- end -}}
{{- end -}}

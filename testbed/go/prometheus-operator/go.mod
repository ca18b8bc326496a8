module parallelconsumer.dev/testbed/prometheus-operator

go 1.24.0

tool github.com/prometheus-operator/prometheus-operator/cmd/operator

require github.com/prometheus-operator/prometheus-operator v0.85.0

replace (
	github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring => github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring v0.85.0
	github.com/prometheus-operator/prometheus-operator/pkg/client => github.com/prometheus-operator/prometheus-operator/pkg/client v0.85.0
)

module parallelconsumer.dev/testbed/helm-unittest

go 1.24.0

tool github.com/helm-unittest/helm-unittest/cmd/helm-unittest

require github.com/helm-unittest/helm-unittest v1.1.2

replace github.com/vmware-labs/yaml-jsonpath v0.3.2 => github.com/helm-unittest/yaml-jsonpath v0.4.0

//go:build tools

// Package k8s pins the Kubernetes programs that the tests run: `go mod tidy`
// keeps what they need in go.sum, `tests/k8s/build` compiles them.
package k8s

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)

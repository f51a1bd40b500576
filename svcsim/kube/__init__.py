"""The Kubernetes control plane as far as Services need it: API objects, the store and its watches, controllers, kubelet, DNS."""

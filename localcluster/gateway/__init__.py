"""The Gateway API: its definitions, a controller that accepts Gateways and HTTPRoutes, and the proxy behind them.

https://gateway-api.sigs.k8s.io/reference/spec/
"""

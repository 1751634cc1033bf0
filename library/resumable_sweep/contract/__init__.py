"""What the operator, the sidecar and the program in the pod agree upon: names, formats and nothing else.

Standard library only. The operator and the sidecar import this package and no other part of the library; the library
imports neither of them.
"""

"""The command line, `tulle` or `kubectl tulle`: what people type, done with the tools the mesh itself is made of.

cli.py       the commands and the options they share; each is imported when it is called
kube.py      the few calls of the Kubernetes API the commands need, by kubeconfig
helm.py      Helm in a process of its own, driven by questions and answers
output.py    tables, JSON, ticks and crosses; one sentence for what went wrong
portforward.py a pod's loopback, for one request
lookup.py    workloads, their pods and Services by the names people use
claims.py    what `tulle check` claims, as functions of facts; moments.py: times as people read them
commands/    one module a command
demo/        the demo's stage, figures and show
"""

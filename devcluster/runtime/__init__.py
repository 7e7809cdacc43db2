"""Pods as processes of this machine: network namespaces, ClusterIPs, cluster DNS, containers and their lives.

How the process that holds the cluster uses it, in order:

    linux.enter_node()                        # before any thread and loop: own user (if not root), network, mount namespaces
    network = Network()
    network.start()                           # node addresses and sysctls; the API may then also listen on
                                              # (network.NODE_ADDRESS, network.API_PORT), where pods find it
    kubelet = Kubelet(registry, network, images, root, tokens)  # images: Path of images.json; root: an empty directory
                                              # tokens: has `request(namespace, account, token_request) -> Object`
    async with asyncio.TaskGroup() as group:
        await kubelet.start(group)            # node programs: services (nft), DNS, pods; ends with `await kubelet.stop()`
        controllers.run_all(registry, group)  # all loops of `devcluster.controllers`

What the API's streaming endpoints call (refusals are `StatusError`, raised before the first byte):

    chunks = await kubelet.logs(namespace, pod, LogOptions(container="", follow=False, previous=False, tail=None,
                                since_seconds=None, since_time=None, timestamps=False, limit_bytes=None))  # AsyncIterator[bytes]
    code = await kubelet.exec(namespace, pod, container, command, Streams(stdin=..., stdout=..., stderr=..., tty=False,
                                resizes=None))   # stdin: AsyncIterator[bytes] | None; stdout, stderr: async callables of bytes
    reader, writer = await kubelet.dial(namespace, pod, port)   # 127.0.0.1:port inside the pod (port-forward)
    # the `proxy` subresource needs nothing of this: pod addresses are routable from the node namespace

- `linux`, `netlink`   the few system calls Python lacks
- `network`            the node's and the pods' network namespaces
- `services`           ClusterIPs as one nft table
- `dns`                cluster names
- `images`, `archive`  image name to an unpacked archive, or to directories of this machine
- `launch`, `rootfs`   the small process that becomes a container; run outside of this one
- `spawner`            how this process talks to it
- `environment`, `volumes`, `security`  what a container sees and may do
- `container`, `probes`, `logs`         one container's life
- `pod`, `status`      one pod's life and how it is told
- `kubelet`            bound pods to running ones
"""

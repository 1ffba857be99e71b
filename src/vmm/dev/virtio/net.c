/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.c - the network card (virtio 1.2, 5.1): a receive and a transmit queue of frames with a
 * 12-byte header, which stays zero: no offloads.
 */
#include "base/bytes.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/net/netdev.h"
#include "vmm/net/nic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define F_MTU    (1ull << 3)
#define F_MAC    (1ull << 5)
#define F_STATUS (1ull << 16)

enum {
    RX = 0,
    TX = 1,
    MAX_HEADER = 12,
    LEGACY_HEADER = 10,
    CONFIG_BYTES = 12,
    LINK_UP = 1,
    MAC_BYTES = 6
};

struct net {
    struct virtio_dev vd;
    char *netdev_id;
    char *mac_text;
    uint32_t mtu;
    struct netdev *nd; /* borrowed */
    uint8_t mac[MAC_BYTES];
    bool rx_starved;
};

static const struct opt net_opts[] = {
    VIRTIO_OPTS(struct net),
    OPT_STR(struct net, netdev_id, "netdev", NULL, "network back end"),
    OPT_STR(struct net, mac_text, "mac", NULL, "address; default 52:54:00:12:34:56 and up"),
    OPT_U32(struct net, mtu, "host_mtu", "0", "MTU that the guest is told; 0: none"),
    OPT_END,
};

/* Legacy drivers know no num_buffers (5.1.6.1). */
static size_t header_bytes(const struct net *net)
{
    return virtio_has(&net->vd, VIRTIO_F_VERSION_1) ? MAX_HEADER : LEGACY_HEADER;
}

static bool net_receive(void *arg, const uint8_t *frame, size_t len)
{
    struct net *net = arg;
    struct vq *vq = &net->vd.queues[RX];
    uint8_t header[MAX_HEADER] = { 0 };
    size_t header_len = header_bytes(net);
    struct vq_elem *e;

    if (!virtio_ready(&net->vd) || !vq->ready) {
        return true; /* nobody at home: lost */
    }
    e = virtio_pop(&net->vd, vq);
    if (e == NULL) {
        vq_enable_notify(vq, true);
        e = virtio_pop(&net->vd, vq);
        if (e == NULL) {
            net->rx_starved = !vq->broken;
            return vq->broken;
        }
    }
    le16_put(header + 10, 1); /* num_buffers (5.1.6.1) */
    if (iov_size(e->in, e->n_in) < header_len + len) {
        vq_unpop(vq, e);
        return true; /* a frame that does not fit is dropped (5.1.6.3.1) */
    }
    (void)iov_write(e->in, e->n_in, 0, header, header_len);
    (void)iov_write(e->in, e->n_in, header_len, frame, len);
    vq_push(vq, e, (uint32_t)(header_len + len));
    virtio_notify(&net->vd, vq);
    return true;
}

static void transmit(struct net *net)
{
    struct vq *vq = &net->vd.queues[TX];
    struct vq_elem *e;
    size_t header_len = header_bytes(net);
    bool pushed = false;

    vq_enable_notify(vq, false);
    for (;;) {
        struct iovec part[64];
        size_t len;
        unsigned n;

        e = virtio_pop(&net->vd, vq);
        if (e == NULL) {
            vq_enable_notify(vq, true);
            if (!virtio_ready(&net->vd) || !vq_has_avail(vq)) {
                break;
            }
            vq_enable_notify(vq, false);
            continue;
        }
        len = iov_size(e->out, e->n_out);
        n = len > header_len ? iov_slice(e->out, e->n_out, header_len, len - header_len, part, 64)
                             : 0;
        if (n > 0 && net->nd->cls->send(net->nd, part, n) == -EAGAIN) {
            vq_unpop(vq, e); /* net_ready() comes back for it */
            break;
        }
        vq_push(vq, e, 0);
        pushed = true;
    }
    if (pushed) {
        virtio_notify(&net->vd, vq);
    }
}

static void net_ready(void *arg)
{
    struct net *net = arg;

    if (virtio_ready(&net->vd)) {
        transmit(net);
    }
}

static void net_handle(struct virtio_dev *vd, unsigned index)
{
    struct net *net = (struct net *)vd;

    if (index == TX) {
        transmit(net);
    } else if (net->rx_starved) {
        net->rx_starved = false;
        vq_enable_notify(&vd->queues[RX], false);
        net->nd->cls->resume(net->nd);
    }
}

static void net_get_config(struct virtio_dev *vd, uint8_t *c)
{
    struct net *net = (struct net *)vd;

    memcpy(c, net->mac, MAC_BYTES);
    le16_put(c + 6, LINK_UP);
    le16_put(c + 8, 1);
    le16_put(c + 10, (uint16_t)net->mtu);
}

static void net_reset(struct virtio_dev *vd)
{
    ((struct net *)vd)->rx_starved = false;
}

static int net_init(struct virtio_dev *vd, struct err **err)
{
    struct net *net = (struct net *)vd;
    int r = nic_parse_mac(net->mac_text, net->mac, err);

    if (r < 0) {
        return r;
    }
    if (net->mtu > 65535 || (net->mtu != 0 && net->mtu < 68)) {
        return err_set(err, EINVAL, "host_mtu must be 68 to 65535");
    }
    r = nic_attach(vd->dev.m, net->netdev_id, net_receive, net_ready, net, &net->nd, err);
    if (r < 0) {
        return r;
    }
    vd->device_features |= F_MAC | F_STATUS | (net->mtu != 0 ? F_MTU : 0);
    return virtio_set_queues(vd, 2, err);
}

static void net_done(struct virtio_dev *vd)
{
    struct net *net = (struct net *)vd;

    nic_detach(net->nd);
}

static const struct virtio_class net_virtio = {
    .id = VIRTIO_ID_NET,
    .queue_size = 256,
    .config_size = CONFIG_BYTES,
    .init = net_init,
    .done = net_done,
    .get_config = net_get_config,
    .handle_queue = net_handle,
    .reset = net_reset,
};

const struct device_class virtio_net_class =
    VIRTIO_DEVICE_CLASS("virtio-net-device", "network card", struct net, net_opts, &net_virtio);

static void net_boot_path(const struct device *dev, char *buf, size_t len)
{
    (void)snprintf(buf, len, "ethernet@%x/ethernet-phy@0",
                   ((const struct pci_dev *)dev)->devfn >> 3);
}

const struct device_class virtio_net_pci_class = VIRTIO_PCI_CLASS(
    "virtio-net-pci", "network card", struct net, net_opts, &net_virtio, net_boot_path);

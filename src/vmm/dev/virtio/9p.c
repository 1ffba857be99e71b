/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 9p.c - the 9P transport (virtio 1.2 reserves device ID 9; Linux's net/9p/trans_virtio.c is its
 * description): one queue, whose elements carry a request and the place for its answer. The server
 * is our own, in this process and its sandbox (p9.c).
 */
#include "base/bytes.h"
#include "vmm/dev/virtio/p9.h"
#include "vmm/dev/virtio/share.h"
#include "vmm/machine/fsdev.h"

#include <errno.h>
#include <string.h>

enum { TAG_BYTES = 32, FEATURE_MOUNT_TAG = 1 << 0 };

struct dev_9p {
    struct virtio_dev vd;
    char *fsdev;
    char *tag;
    struct p9 *server;
    struct share share;
};

static const struct opt p9_opts[] = {
    VIRTIO_OPTS(struct dev_9p),
    OPT_STR(struct dev_9p, fsdev, "fsdev", NULL, "id of the -fsdev"),
    OPT_STR(struct dev_9p, tag, "mount_tag", NULL, "name that the guest mounts"),
    OPT_END,
};

static size_t serve(void *server, const struct iovec *out, unsigned n_out, const struct iovec *in,
                    unsigned n_in)
{
    return p9_serve(server, out, n_out, in, n_in);
}

static void forget(void *server)
{
    p9_reset(server);
}

static void p9_handle(struct virtio_dev *vd, unsigned index)
{
    share_handle(&((struct dev_9p *)vd)->share, vd, index);
}

static void p9_get_config(struct virtio_dev *vd, uint8_t *c)
{
    const char *tag = ((struct dev_9p *)vd)->tag;

    le16_put(c, (uint16_t)strlen(tag));
    memcpy(c + 2, tag, strlen(tag));
}

static void p9_dev_reset(struct virtio_dev *vd)
{
    share_reset(&((struct dev_9p *)vd)->share);
}

static int p9_init(struct virtio_dev *vd, struct err **err)
{
    struct dev_9p *d = (struct dev_9p *)vd;
    const struct fsdev *f = d->fsdev != NULL ? fsdev_find(vd->dev.m, d->fsdev) : NULL;
    int r;

    if (f == NULL) {
        return err_set(err, ENODEV, "fsdev=%s: there is no -fsdev of this id",
                       d->fsdev != NULL ? d->fsdev : "");
    }
    if (d->tag == NULL || *d->tag == '\0' || strlen(d->tag) > TAG_BYTES) {
        return err_set(err, EINVAL, "mount_tag= (1 to %d characters) is needed", TAG_BYTES);
    }
    r = p9_new(f->path, f->read_only, &d->server, err);
    if (r == 0) {
        d->share = (struct share) { serve, forget, d->server, false, false };
        r = machine_allow_path(vd->dev.m, f->path, !f->read_only, err);
    }
    vd->device_features |= FEATURE_MOUNT_TAG;
    return r == 0 ? virtio_set_queues(vd, 1, err) : r;
}

static void p9_done(struct virtio_dev *vd)
{
    struct dev_9p *d = (struct dev_9p *)vd;

    d->server = p9_free(d->server);
    d->share.server = NULL;
}

static const struct virtio_class p9_virtio = {
    .id = VIRTIO_ID_9P,
    .queue_size = 128,
    .config_size = 2 + TAG_BYTES,
    .init = p9_init,
    .done = p9_done,
    .get_config = p9_get_config,
    .handle_queue = p9_handle,
    .reset = p9_dev_reset,
};

const struct device_class virtio_9p_class = VIRTIO_DEVICE_CLASS(
    "virtio-9p-device", "folder of the host by 9P", struct dev_9p, p9_opts, &p9_virtio);

const struct device_class virtio_9p_pci_class = VIRTIO_PCI_CLASS(
    "virtio-9p-pci", "folder of the host by 9P", struct dev_9p, p9_opts, &p9_virtio, NULL);

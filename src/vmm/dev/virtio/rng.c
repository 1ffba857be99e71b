/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rng.c - the entropy device (virtio 1.2, 5.4): every buffer of the driver is filled from the
 * host's random numbers. rng=ID names an -object rng-random, whose source is the same.
 */
#include "base/hash.h"
#include "vmm/dev/virtio/virtio.h"

#include <errno.h>
#include <sys/random.h>

/* A chain may be long; what a driver asks for in one go is a page or so. */
enum { MAX_BYTES = 65536 };

struct rng {
    struct virtio_dev vd;
    char *rng_id;
    uint64_t max_bytes;
    uint64_t period;
};

static const struct opt rng_opts[] = {
    VIRTIO_OPTS(struct rng),
    OPT_STR(struct rng, rng_id, "rng", NULL, "entropy source; none: the host's"),
    OPT_U64(struct rng, max_bytes, "max-bytes", "9223372036854775807", "accepted"),
    OPT_U64(struct rng, period, "period", "65536", "accepted"),
    OPT_END,
};

static void rng_handle(struct virtio_dev *vd, unsigned index)
{
    struct vq *vq = &vd->queues[index];
    struct vq_elem *e;
    bool pushed = false;

    while ((e = virtio_pop(vd, vq)) != NULL) {
        uint32_t done = 0;

        for (unsigned i = 0; i < e->n_in && done < MAX_BYTES; i++) {
            size_t len = e->in[i].iov_len;
            ssize_t n;

            len = len < MAX_BYTES - done ? len : MAX_BYTES - done;
            n = getrandom(e->in[i].iov_base, len, 0);
            if (n <= 0) {
                break;
            }
            done += (uint32_t)n;
        }
        vq_push(vq, e, done);
        pushed = true;
    }
    if (pushed) {
        virtio_notify(vd, vq);
    }
}

static int rng_init(struct virtio_dev *vd, struct err **err)
{
    struct rng *rng = (struct rng *)vd;

    if (rng->rng_id != NULL && hash_get(vd->dev.m->objects, rng->rng_id) == NULL) {
        return err_set(err, ENOENT, "there is no object '%s'", rng->rng_id);
    }
    return virtio_set_queues(vd, 1, err);
}

static const struct virtio_class rng_virtio = {
    .id = VIRTIO_ID_RNG,
    .queue_size = 64,
    .init = rng_init,
    .handle_queue = rng_handle,
};

const struct device_class virtio_rng_class = VIRTIO_DEVICE_CLASS(
    "virtio-rng-device", "entropy from the host", struct rng, rng_opts, &rng_virtio);

const struct device_class virtio_rng_pci_class = VIRTIO_PCI_CLASS(
    "virtio-rng-pci", "entropy from the host", struct rng, rng_opts, &rng_virtio, NULL);

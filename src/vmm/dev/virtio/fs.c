/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs.c - the file system device (virtio 1.2, 5.11): a high-priority queue and one for requests,
 * which carry FUSE. The server is our own, in this process and its sandbox (fuse.c).
 */
#include "base/bytes.h"
#include "vmm/dev/virtio/fuse.h"
#include "vmm/dev/virtio/share.h"

#include <errno.h>
#include <string.h>

enum { TAG_BYTES = 36, CONFIG_BYTES = 40, QUEUES = 2 };

struct fs {
    struct virtio_dev vd;
    char *path;
    char *tag;
    bool read_only;
    struct fuse *fuse;
    struct share share;
};

static const struct opt fs_opts[] = {
    VIRTIO_OPTS(struct fs),
    OPT_STR(struct fs, path, "path", NULL, "folder of the host"),
    OPT_STR(struct fs, tag, "tag", NULL, "name that the guest mounts"),
    OPT_BOOL(struct fs, read_only, "readonly", "off", "the guest cannot write"),
    OPT_END,
};

static size_t fs_serve(void *server, const struct iovec *out, unsigned n_out,
                       const struct iovec *in, unsigned n_in)
{
    return fuse_serve(server, out, n_out, in, n_in);
}

static void fs_forget(void *server)
{
    fuse_reset(server);
}

static void fs_handle(struct virtio_dev *vd, unsigned index)
{
    share_handle(&((struct fs *)vd)->share, vd, index);
}

static void fs_get_config(struct virtio_dev *vd, uint8_t *c)
{
    const char *tag = ((struct fs *)vd)->tag;

    memcpy(c, tag, strnlen(tag, TAG_BYTES));
    le32_put(c + TAG_BYTES, 1);
}

static void fs_reset(struct virtio_dev *vd)
{
    share_reset(&((struct fs *)vd)->share);
}

static int fs_init(struct virtio_dev *vd, struct err **err)
{
    struct fs *fs = (struct fs *)vd;
    int r;

    if (fs->path == NULL || fs->tag == NULL || *fs->tag == '\0' || strlen(fs->tag) > TAG_BYTES) {
        return err_set(err, EINVAL, "path= and tag= (1 to %d characters) are needed", TAG_BYTES);
    }
    r = fuse_new(fs->path, fs->read_only, &fs->fuse, err);
    if (r == 0) {
        fs->share = (struct share) { fs_serve, fs_forget, fs->fuse, false, false };
        r = machine_allow_path(vd->dev.m, fs->path, !fs->read_only, err);
    }
    return r == 0 ? virtio_set_queues(vd, QUEUES, err) : r;
}

static void fs_done(struct virtio_dev *vd)
{
    struct fs *fs = (struct fs *)vd;

    fs->fuse = fuse_free(fs->fuse);
    fs->share.server = NULL;
}

static const struct virtio_class fs_virtio = {
    .id = VIRTIO_ID_FS,
    .queue_size = 128,
    .config_size = CONFIG_BYTES,
    .init = fs_init,
    .done = fs_done,
    .get_config = fs_get_config,
    .handle_queue = fs_handle,
    .reset = fs_reset,
};

const struct device_class virtio_fs_class =
    VIRTIO_DEVICE_CLASS("virtio-fs-device", "folder of the host", struct fs, fs_opts, &fs_virtio);

const struct device_class virtio_fs_pci_class =
    VIRTIO_PCI_CLASS("virtio-fs-pci", "folder of the host", struct fs, fs_opts, &fs_virtio, NULL);

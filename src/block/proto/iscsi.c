/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * iscsi.c - logical units of iSCSI targets: iscsi://[USER[%PASSWORD]@]HOST[:PORT]/TARGET/LUN, or
 * transport=tcp, portal=, target=, lun=, user=, password-secret=, initiator-name= (RFC 7143,
 * SBC-3).
 *
 * One request at a time. What does not fill the unit's blocks is read, changed and written back.
 */
#include "block/core/block.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/iov.h"
#include "codec/keyval.h"
#include "os/dynlib.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define FUNCTIONS(X)                    \
    X(iscsi_create_context)             \
    X(iscsi_destroy_context)            \
    X(iscsi_parse_full_url)             \
    X(iscsi_destroy_url)                \
    X(iscsi_set_targetname)             \
    X(iscsi_set_session_type)           \
    X(iscsi_set_header_digest)          \
    X(iscsi_set_initiator_username_pwd) \
    X(iscsi_full_connect_sync)          \
    X(iscsi_logout_sync)                \
    X(iscsi_get_error)                  \
    X(iscsi_readcapacity16_sync)        \
    X(iscsi_read16_sync)                \
    X(iscsi_write16_sync)               \
    X(iscsi_synchronizecache16_sync)    \
    X(iscsi_unmap_sync)                 \
    X(scsi_datain_unmarshall)           \
    X(scsi_free_scsi_task)
FUNCTIONS(DYNLIB_POINTER)

enum { MAX_TRANSFER = 1 << 20, DEFAULT_LUN = 0 };

struct iscsi_node {
    struct block_node node;
    struct iscsi_context *iscsi;
    int lun;
    bool connected;
    bool can_unmap;
    uint32_t block;
    uint64_t length;
    pthread_mutex_t lock;
};

static int failed(struct iscsi_node *s, const char *what, struct err **err)
{
    return err_set(err, EIO, "iSCSI: %s: %s", what, dyn_iscsi_get_error(s->iscsi));
}

/* The task's result, and its end. */
static int finish(struct scsi_task *task)
{
    int r = task == NULL ? -ENOMEM : task->status == SCSI_STATUS_GOOD ? 0 : -EIO;

    if (task != NULL && task->status == SCSI_STATUS_CHECK_CONDITION &&
        task->sense.key == SCSI_SENSE_DATA_PROTECTION) {
        r = -EROFS;
    }
    if (task != NULL) {
        dyn_scsi_free_scsi_task(task);
    }
    return r;
}

static int read_capacity(struct iscsi_node *s, struct err **err)
{
    struct scsi_task *task = NULL;
    struct scsi_readcapacity16 *cap;

    /* The first commands after a login may be answered by a unit attention. */
    for (int tries = 0; tries < 3; tries++) {
        task = dyn_iscsi_readcapacity16_sync(s->iscsi, s->lun);
        if (task == NULL || task->status == SCSI_STATUS_GOOD) {
            break;
        }
        dyn_scsi_free_scsi_task(task);
        task = NULL;
    }
    cap = task != NULL ? dyn_scsi_datain_unmarshall(task) : NULL;
    if (cap == NULL) {
        (void)finish(task);
        return failed(s, "failed to read the capacity of the LUN", err);
    }
    s->block = cap->block_length;
    s->can_unmap = cap->lbpme != 0;
    if (s->block < BLOCK_SECTOR || s->block > 65536 || (s->block & (s->block - 1)) != 0 ||
        cap->returned_lba >= BLOCK_MAX_LENGTH / s->block) {
        (void)finish(task);
        return err_set(err, EINVAL, "iSCSI: the LUN has impossible sizes");
    }
    s->length = (cap->returned_lba + 1) * s->block;
    return finish(task);
}

static int login(struct iscsi_node *s, struct keyval *opts, struct err **err)
{
    const char *portal = keyval_get(opts, "portal");
    const char *target = keyval_get(opts, "target");
    const char *user = keyval_get(opts, "user");
    const char *secret = keyval_get(opts, "password-secret");
    const char *plain = keyval_get(opts, "\1password");
    const char *name = keyval_get(opts, "initiator-name");
    uint8_t *password = NULL;
    size_t len = 0;
    int r = 0;

    if (portal == NULL || target == NULL) {
        return err_set(err, EINVAL, "iSCSI: portal= and target= are needed");
    }
    s->iscsi = dyn_iscsi_create_context(name != NULL ? name : "iqn.2008-11.org.linux-kvm:vireo");
    if (s->iscsi == NULL) {
        return err_set(err, ENOMEM, "iSCSI: Failed to create iSCSI context");
    }
    if (user != NULL && secret != NULL) {
        r = block_secret(s->node.ctx, secret, &password, &len, err);
    }
    if (r == 0 && password != NULL) {
        AUTO_FREE char *text = strndup((char *)password, len);

        r = text == NULL || dyn_iscsi_set_initiator_username_pwd(s->iscsi, user, text) != 0
                ? err_set(err, EINVAL, "iSCSI: Failed to set initiator username and password")
                : 0;
    } else if (r == 0 && user != NULL && plain != NULL &&
               dyn_iscsi_set_initiator_username_pwd(s->iscsi, user, plain) != 0) {
        r = err_set(err, EINVAL, "iSCSI: Failed to set initiator username and password");
    }
    free(password);
    if (r < 0) {
        return r;
    }
    if (dyn_iscsi_set_targetname(s->iscsi, target) != 0 ||
        dyn_iscsi_set_session_type(s->iscsi, ISCSI_SESSION_NORMAL) != 0 ||
        dyn_iscsi_set_header_digest(s->iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C) != 0) {
        return failed(s, "cannot set up the session", err);
    }
    if (dyn_iscsi_full_connect_sync(s->iscsi, portal, s->lun) != 0) {
        return failed(s, "Failed to connect to LUN", err);
    }
    s->connected = true;
    return 0;
}

static int load(struct err **err)
{
    static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };

    return dynlib_open("libiscsi.so.7", symbols, sizeof(symbols) / sizeof(symbols[0]), err);
}

static int iscsi_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct iscsi_node *s = (struct iscsi_node *)node;
    const char *transport = keyval_get(opts, "transport");
    const char *portal = keyval_get(opts, "portal");
    const char *target = keyval_get(opts, "target");
    unsigned long long lun = DEFAULT_LUN;
    int r = keyval_get_u64(opts, "lun", DEFAULT_LUN, &lun, err);

    (void)keyval_get(opts, "header-digest");
    (void)keyval_get(opts, "timeout");
    (void)pthread_mutex_init(&s->lock, NULL);
    if (r == 0 && transport != NULL && !str_eq(transport, "tcp")) {
        r = err_set(err, ENOTSUP, "iSCSI: transport '%s' is not supported: use tcp", transport);
    }
    if (r == 0 && lun > 16383) {
        r = err_set(err, EINVAL, "iSCSI: lun is at most 16383");
    }
    s->lun = (int)lun;
    if (r == 0) {
        node->filename = str_format("iscsi://%s/%s/%d", portal != NULL ? portal : "",
                                    target != NULL ? target : "", s->lun);
        r = load(err);
    }
    if (r == 0) {
        r = login(s, opts, err);
    }
    return r == 0 ? read_capacity(s, err) : r;
}

static void iscsi_close(struct block_node *node)
{
    struct iscsi_node *s = (struct iscsi_node *)node;

    if (s->connected) {
        (void)dyn_iscsi_logout_sync(s->iscsi);
    }
    if (s->iscsi != NULL) {
        (void)dyn_iscsi_destroy_context(s->iscsi);
    }
    (void)pthread_mutex_destroy(&s->lock);
}

static int64_t iscsi_length(struct block_node *node)
{
    return (int64_t)((struct iscsi_node *)node)->length;
}

/* Whole blocks. */
static int transfer(struct iscsi_node *s, uint8_t *buf, size_t len, uint64_t off, bool write)
{
    int r = 0;

    while (r == 0 && len > 0) {
        uint32_t part = (uint32_t)min_u64(len, MAX_TRANSFER);
        struct scsi_task *task = write
                                     ? dyn_iscsi_write16_sync(s->iscsi, s->lun, off / s->block, buf,
                                                              part, (int)s->block, 0, 0, 0, 0, 0)
                                     : dyn_iscsi_read16_sync(s->iscsi, s->lun, off / s->block, part,
                                                             (int)s->block, 0, 0, 0, 0, 0);

        if (!write && task != NULL && task->status == SCSI_STATUS_GOOD) {
            if (task->datain.size < 0 || (size_t)task->datain.size != part) {
                r = -EIO;
            } else {
                memcpy(buf, task->datain.data, part);
            }
        }
        r = finish(task) < 0 ? -EIO : r;
        buf += part;
        off += part;
        len -= part;
    }
    return r;
}

static int both_ways(struct iscsi_node *s, const struct iovec *iov, unsigned n, uint64_t off,
                     bool write)
{
    size_t len = iov_len(iov, n);
    uint64_t start = round_down_u64(off, s->block);
    uint64_t end = round_up_u64(off + len, s->block);
    AUTO_FREE uint8_t *buf = malloc(end - start);
    int r = buf != NULL ? 0 : -ENOMEM;

    (void)pthread_mutex_lock(&s->lock);
    if (r == 0 && (!write || start != off || end != off + len)) {
        r = transfer(s, buf, end - start, start, false);
    }
    if (r == 0 && write) {
        iov_to_buf(iov, n, 0, buf + (off - start), len);
        r = transfer(s, buf, end - start, start, true);
    } else if (r == 0) {
        iov_from_buf(iov, n, 0, buf + (off - start), len);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

static int iscsi_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    return both_ways((struct iscsi_node *)node, iov, n, off, false);
}

static int iscsi_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off)
{
    struct iscsi_node *s = (struct iscsi_node *)node;

    return range_within(off, iov_len(iov, n), s->length) ? both_ways(s, iov, n, off, true)
                                                         : -ENOSPC;
}

static int iscsi_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    struct iscsi_node *s = (struct iscsi_node *)node;
    uint64_t end = round_down_u64(off + len, s->block);
    int r = 0;

    off = round_up_u64(off, s->block);
    while (r == 0 && s->can_unmap && off < end) {
        struct unmap_list list = { .lba = off / s->block };

        list.num = (uint32_t)min_u64((end - off) / s->block, UINT32_MAX / s->block);
        (void)pthread_mutex_lock(&s->lock);
        r = finish(dyn_iscsi_unmap_sync(s->iscsi, s->lun, 0, 0, &list, 1));
        (void)pthread_mutex_unlock(&s->lock);
        off += (uint64_t)list.num * s->block;
    }
    return 0; /* advice */
}

static int iscsi_flush(struct block_node *node)
{
    struct iscsi_node *s = (struct iscsi_node *)node;
    int r;

    (void)pthread_mutex_lock(&s->lock);
    r = finish(dyn_iscsi_synchronizecache16_sync(s->iscsi, s->lun, 0, 0, 0, 0));
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

static int iscsi_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                          struct err **err)
{
    (void)prealloc;
    return len > ((struct iscsi_node *)node)->length
               ? err_set(err, EINVAL, "Cannot grow iSCSI devices")
               : 0;
}

static int parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    struct iscsi_context *scratch;
    struct iscsi_url *url;
    char lun[16];
    int r = load(err);

    if (r < 0) {
        return r;
    }
    scratch = dyn_iscsi_create_context("iqn.2008-11.org.linux-kvm:vireo");
    url = scratch != NULL ? dyn_iscsi_parse_full_url(scratch, filename) : NULL;
    if (url == NULL) {
        r = err_set(err, EINVAL,
                    "'%s' is no iSCSI URL: iscsi://[USER%%PASSWORD@]HOST[:PORT]/TARGET/LUN",
                    filename);
    } else {
        (void)snprintf(lun, sizeof(lun), "%d", url->lun);
        r = keyval_add(opts, "portal", url->portal);
        r = r == 0 ? keyval_add(opts, "target", url->target) : r;
        r = r == 0 ? keyval_add(opts, "lun", lun) : r;
        if (r == 0 && url->user[0] != '\0') {
            r = keyval_add(opts, "user", url->user);
            r = r == 0 ? keyval_add(opts, "\1password", url->passwd) : r;
        }
        dyn_iscsi_destroy_url(url);
    }
    if (scratch != NULL) {
        (void)dyn_iscsi_destroy_context(scratch);
    }
    return r;
}

static const char *const schemes[] = { "iscsi", NULL };

const struct block_driver block_iscsi = {
    .name = "iscsi",
    .is_protocol = true,
    .size = sizeof(struct iscsi_node),
    .schemes = schemes,
    .parse_filename = parse_filename,
    .open = iscsi_open,
    .close = iscsi_close,
    .length = iscsi_length,
    .preadv = iscsi_preadv,
    .pwritev = iscsi_pwritev,
    .discard = iscsi_discard,
    .flush = iscsi_flush,
    .truncate = iscsi_truncate,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/disk/disk.h"

#include "base/hash.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int disk_init(struct disk *d, struct machine *m, bool removable, unsigned number, struct err **err)
{
    struct block_node *node;

    d->m = m;
    if (d->logical < SECTOR_BYTES || d->logical > 32768 || (d->logical & (d->logical - 1)) != 0 ||
        d->physical < d->logical || (d->physical & (d->physical - 1)) != 0) {
        return err_set(err, EINVAL, "block sizes are powers of two, 512 to 32768");
    }
    if (d->serial != NULL && strlen(d->serial) > DISK_SERIAL_BYTES) {
        return err_set(err, EINVAL, "serial '%s' is longer than %d characters", d->serial,
                       DISK_SERIAL_BYTES);
    }
    (void)snprintf(d->made_serial, sizeof(d->made_serial), "QM%05u", number);
    if (d->drive == NULL) {
        return removable ? 0 : err_set(err, EINVAL, "drive= is missing");
    }
    node = hash_get(m->blocks, d->drive);
    if (node == NULL) {
        return err_set(err, ENOENT, "there is no drive or block node '%s'", d->drive);
    }
    d->node = block_ref(node);
    return 0;
}

void disk_done(struct disk *d)
{
    if (d->node != NULL) {
        block_drain(d->node->ctx, d->node);
        d->node = block_unref(d->node);
    }
}

uint64_t disk_bytes(const struct disk *d)
{
    int64_t len = d->node != NULL && !d->tray_open ? block_length(d->node) : 0;

    return len > 0 ? (uint64_t)len : 0;
}

const char *disk_serial(const struct disk *d)
{
    return d->serial != NULL ? d->serial : d->made_serial;
}

bool disk_read_only(const struct disk *d)
{
    return d->node == NULL || d->node->read_only;
}

bool disk_error_stops(struct disk *d, const char *id, enum block_op op, int error)
{
    const char *policy = op == BLOCK_READ ? d->rerror : d->werror;
    bool stop = str_eq(policy, "stop") || (op != BLOCK_READ && error == -ENOSPC &&
                                           (str_eq(policy, "enospc") || str_eq(policy, "auto")));

    machine_event(d->m, "BLOCK_IO_ERROR",
                  "{\"device\": \"%s\", \"node-name\": \"%s\", \"operation\": \"%s\", "
                  "\"action\": \"%s\", \"nospace\": %s, \"reason\": \"%s\"}",
                  id != NULL ? id : "", d->drive != NULL ? d->drive : "",
                  op == BLOCK_READ ? "read" : "write",
                  stop                       ? "stop"
                  : str_eq(policy, "ignore") ? "ignore"
                                             : "report",
                  error == -ENOSPC ? "true" : "false", strerror(-error));
    if (stop) {
        machine_request_io_error(d->m);
    }
    return stop;
}

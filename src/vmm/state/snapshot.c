/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot.c - savevm, loadvm, delvm: the machine inside its qcow2 images. */
#include "block/core/snapshot.h"

#include "base/hash.h"
#include "base/str.h"
#include "vmm/machine/machine.h"
#include "vmm/state/state.h"
#include "vmm/state/stream.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { MAX_IMAGES = 64 };

struct images {
    struct block_node *list[MAX_IMAGES];
    unsigned n;
    struct block_node *cannot; /* writable, but without snapshots */
};

static int collect(const char *key, void *value, void *arg)
{
    struct images *im = arg;
    struct block_node *node = value;
    struct block_snapshot *list = NULL;
    size_t n = 0;
    int r;

    (void)key;
    if (node->read_only) {
        return 0;
    }
    r = block_snapshot_list(node, &list, &n);
    block_snapshots_free(list, n);
    if (r == -ENOTSUP) {
        if (!node->drv->is_protocol && im->cannot == NULL) {
            im->cannot = node;
        }
        return 0;
    }
    for (unsigned i = 0; i < im->n; i++) {
        if (im->list[i] == node) {
            return 0;
        }
    }
    if (im->n < MAX_IMAGES) {
        im->list[im->n++] = node;
    }
    return 0;
}

static int find_images(struct machine *m, struct images *im, struct err **err)
{
    *im = (struct images) { .n = 0 };
    (void)hash_each(m->blocks, collect, im);
    if (im->cannot != NULL) {
        return err_set(err, ENOTSUP, "Device '%s' is writable but does not support snapshots",
                       im->cannot->name != NULL ? im->cannot->name : im->cannot->drv->name);
    }
    return im->n > 0 ? 0 : err_set(err, ENOTSUP, "No block device can accept snapshots");
}

int state_savevm(struct machine *m, const char *name, struct err **err)
{
    struct images im;
    struct state_stream *s;
    bool was_running = m->state == RUN_RUNNING;
    struct timespec now;
    int r = find_images(m, &im, err);

    if (r < 0) {
        return r;
    }
    s = malloc(sizeof(*s));
    if (s == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    machine_pause(m, RUN_SAVE_VM);
    /* One of that name is replaced. */
    for (unsigned i = 0; i < im.n; i++) {
        (void)!block_snapshot_delete(im.list[i], name, NULL);
    }
    state_stream_node(s, im.list[0]);
    r = state_save(m, s, err);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    for (unsigned i = 0; i < im.n && r == 0; i++) {
        struct block_snapshot sn = {
            .name = strdup(name),
            .vm_state_size = i == 0 ? s->total : 0,
            .date_sec = (uint32_t)now.tv_sec,
            .date_nsec = (uint32_t)now.tv_nsec,
            .icount = UINT64_MAX,
        };

        r = block_snapshot_create(im.list[i], &sn, err);
        free(sn.name);
        free(sn.id);
    }
    free(s);
    if (was_running) {
        struct err *ignored = NULL;

        (void)machine_run(m, &ignored);
        (void)err_free(ignored);
    }
    return r;
}

int state_loadvm(struct machine *m, const char *name, struct err **err)
{
    struct images im;
    struct state_stream *s;
    bool was_running = m->state == RUN_RUNNING;
    int r = find_images(m, &im, err);

    if (r < 0) {
        return r;
    }
    s = malloc(sizeof(*s));
    if (s == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    machine_pause(m, RUN_RESTORE_VM);
    block_drain(m->block_ctx, NULL);
    for (unsigned i = 0; i < im.n && r == 0; i++) {
        r = block_snapshot_goto(im.list[i], name, err);
    }
    if (r == 0) {
        state_stream_node(s, im.list[0]);
        r = state_load(m, s, err);
    }
    free(s);
    if (r == 0 && was_running) {
        r = machine_run(m, err);
    }
    return r;
}

int state_delvm(struct machine *m, const char *name, struct err **err)
{
    struct images im;
    int r = find_images(m, &im, err);

    for (unsigned i = 0; i < im.n && r == 0; i++) {
        r = block_snapshot_delete(im.list[i], name, err);
    }
    return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.c - the stream:
 *     "vireo-state" 1   format version, machine name
 *     "ram"             gpa and size of a region, then pages: a number, 4096 bytes; ~0 ends it.
 *                       Pages of zeroes are left out.
 *     "vcpu" ..., "irqchip" ...
 *     "device" ...      class name and id, then the parts that its tables name
 *     "end"
 */
#include "vmm/state/state.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/block.h"
#include "vmm/machine/class.h"
#include "vmm/machine/machine.h"
#include "vmm/state/stream.h"

#include <errno.h>
#include <string.h>

enum { VERSION = 1, PAGE = 4096 };

static bool is_zero(const uint8_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, PAGE - 1) == 0;
}

static void save_ram(struct machine *m, struct state_stream *s)
{
    for (unsigned i = 0; i < m->mem.n; i++) {
        const struct gmem_region *g = &m->mem.regions[i];
        uint8_t head[16];
        uint8_t le[8];

        le64_put(head, g->gpa);
        le64_put(head + 8, g->size);
        state_put_record(s, "ram", head, sizeof(head));
        for (uint64_t page = 0; page < g->size / PAGE && s->error == 0; page++) {
            const uint8_t *p = g->host + page * PAGE;

            if (!is_zero(p)) {
                le64_put(le, page);
                state_put(s, le, sizeof(le));
                state_put(s, p, PAGE);
            }
        }
        le64_put(le, UINT64_MAX);
        state_put(s, le, sizeof(le));
    }
}

static int load_ram(struct machine *m, struct state_stream *s, struct err **err)
{
    for (unsigned i = 0; i < m->mem.n; i++) {
        const struct gmem_region *g = &m->mem.regions[i];
        uint8_t head[16];
        uint64_t next = 0;

        state_get_record(s, "ram", head, sizeof(head));
        if (s->error == 0 && (le64_get(head) != g->gpa || le64_get(head + 8) != g->size)) {
            return err_set(err, EINVAL,
                           "the saved machine's memory differs from this one's: see -m");
        }
        while (s->error == 0) {
            uint8_t le[8];
            uint64_t page;
            uint64_t end;

            state_get(s, le, sizeof(le));
            page = le64_get(le);
            end = page == UINT64_MAX ? g->size / PAGE : page;
            if (s->error == 0 && (end < next || end > g->size / PAGE)) {
                s->error = -EINVAL;
                break;
            }
            /* What lies between has to be zero, and is, but for what firmware has put there. */
            for (; next < end; next++) {
                if (!is_zero(g->host + next * PAGE)) {
                    memset(g->host + next * PAGE, 0, PAGE);
                }
            }
            if (page == UINT64_MAX || s->error != 0) {
                break;
            }
            state_get(s, g->host + page * PAGE, PAGE);
            next = page + 1;
        }
    }
    return 0;
}

static int result(const struct state_stream *s, const char *what, struct err **err)
{
    return s->error < 0 ? err_set(err, -s->error, "cannot %s the machine's state: %s", what,
                                  s->error == -EPIPE    ? "it ends too early"
                                  : s->error == -EINVAL ? "it is of another machine, or broken"
                                                        : strerror(-s->error))
                        : 0;
}

int state_save(struct machine *m, struct state_stream *s, struct err **err)
{
    uint8_t version[4];

    block_drain(m->block_ctx, NULL);
    le32_put(version, VERSION);
    state_put_record(s, "vireo-state", version, sizeof(version));
    state_put_record(s, m->cls->name, NULL, 0);
    save_ram(m, s);
    state_save_cpus(m, s);
    state_save_devices(m, s);
    state_put_record(s, "end", NULL, 0);
    state_flush(s);
    return result(s, "save", err);
}

int state_load(struct machine *m, struct state_stream *s, struct err **err)
{
    uint8_t version[4];
    char name[STATE_NAME_MAX + 1];
    uint64_t len;
    int r;

    block_drain(m->block_ctx, NULL);
    state_get_record(s, "vireo-state", version, sizeof(version));
    state_get_head(s, name, &len);
    if (s->error == 0 && le32_get(version) != VERSION) {
        return err_set(err, EINVAL, "the state has format %u: this emulator reads %d",
                       le32_get(version), VERSION);
    }
    if (s->error == 0 && !str_eq(name, m->cls->name)) {
        return err_set(err, EINVAL, "the state is of machine '%s', this is '%s'", name,
                       m->cls->name);
    }
    r = load_ram(m, s, err);
    if (r == 0) {
        r = result(s, "restore", err);
    }
    if (r == 0) {
        r = state_load_cpus(m, s, err);
    }
    if (r == 0) {
        r = state_load_devices(m, s, err);
    }
    if (r == 0) {
        state_get_record(s, "end", NULL, 0);
    }
    return r == 0 ? result(s, "restore", err) : r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/state/stream.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/block.h"
#include "block/core/snapshot.h"
#include "os/fd.h"

#include <errno.h>
#include <poll.h>

void state_stream_fd(struct state_stream *s, int fd)
{
    s->fd = fd;
    s->node = NULL;
    s->off = s->total = 0;
    s->error = 0;
    s->pos = s->len = 0;
    (void)!fd_set_nonblock(fd, false);
}

void state_stream_node(struct state_stream *s, struct block_node *node)
{
    s->fd = -1;
    s->node = node;
    s->off = s->total = 0;
    s->error = 0;
    s->pos = s->len = 0;
}

static void write_out(struct state_stream *s, const void *p, size_t len)
{
    int r = 0;

    if (s->error != 0 || len == 0) {
        return;
    }
    r = s->fd >= 0 ? fd_write_all(s->fd, p, len) : block_vmstate_pwrite(s->node, p, len, s->off);
    if (r < 0) {
        s->error = r;
    }
    s->off += len;
    s->total += len;
}

void state_flush(struct state_stream *s)
{
    write_out(s, s->buf, s->pos);
    s->pos = 0;
}

void state_put(struct state_stream *s, const void *p, size_t len)
{
    if (len > STATE_BUFFER - s->pos) {
        state_flush(s);
    }
    if (len > STATE_BUFFER) {
        write_out(s, p, len);
        return;
    }
    memcpy(s->buf + s->pos, p, len);
    s->pos += len;
}

void state_put_record(struct state_stream *s, const char *name, const void *p, size_t len)
{
    uint8_t n = (uint8_t)strlen(name);
    uint8_t le[8];

    le64_put(le, len);
    state_put(s, &n, 1);
    state_put(s, name, n);
    state_put(s, le, sizeof(le));
    state_put(s, p, len);
}

static size_t read_some(struct state_stream *s, uint8_t *p, size_t len)
{
    if (s->fd >= 0) {
        for (;;) {
            ssize_t n = read(s->fd, p, len);

            if (n >= 0) {
                return (size_t)n;
            }
            if (errno != EINTR) {
                s->error = -errno;
                return 0;
            }
        }
    }
    s->error = block_vmstate_pread(s->node, p, len, s->off);
    s->off += len;
    return s->error < 0 ? 0 : len;
}

void state_get(struct state_stream *s, void *p, size_t len)
{
    uint8_t *to = p;

    while (len > 0 && s->error == 0) {
        size_t n;

        if (s->pos == s->len) {
            s->len = read_some(s, s->buf, s->node != NULL ? 4096 : STATE_BUFFER);
            s->pos = 0;
            if (s->len == 0 && s->error == 0) {
                s->error = -EPIPE; /* it ends too early */
            }
            if (s->error < 0) {
                break;
            }
        }
        n = s->len - s->pos < len ? s->len - s->pos : len;
        memcpy(to, s->buf + s->pos, n);
        s->pos += n;
        s->total += n;
        to += n;
        len -= n;
    }
    if (s->error < 0) {
        memset(to, 0, len);
    }
}

void state_get_head(struct state_stream *s, char name[STATE_NAME_MAX + 1], uint64_t *ret_len)
{
    uint8_t n = 0;
    uint8_t le[8];

    state_get(s, &n, 1);
    if (n > STATE_NAME_MAX) {
        s->error = s->error != 0 ? s->error : -EINVAL;
        n = 0;
    }
    state_get(s, name, n);
    name[n] = '\0';
    state_get(s, le, sizeof(le));
    *ret_len = le64_get(le);
}

void state_get_record(struct state_stream *s, const char *name, void *p, size_t len)
{
    char got[STATE_NAME_MAX + 1];
    uint64_t got_len;

    state_get_head(s, got, &got_len);
    if (s->error == 0 && (!str_eq(got, name) || got_len != len)) {
        s->error = -EINVAL;
    }
    state_get(s, p, len);
}

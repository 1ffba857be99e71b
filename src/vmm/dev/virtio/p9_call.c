/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/virtio/p9_call.h"

#include "base/bytes.h"
#include "base/own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- fids ---- */

struct p9_fid **p9_fid_slot(struct p9 *p, uint32_t id)
{
    struct p9_fid **f = &p->fids[id % P9_BUCKETS];

    while (*f != NULL && (*f)->id != id) {
        f = &(*f)->next;
    }
    return f;
}

void p9_fid_free(struct p9 *p, struct p9_fid **slot)
{
    struct p9_fid *f = *slot;

    *slot = f->next;
    close_fdp(&f->fd);
    close_fdp(&f->open_fd);
    if (f->dir != NULL) {
        (void)closedir(f->dir);
    }
    free(f);
    p->n_fids--;
}

int p9_fid_add(struct p9 *p, uint32_t id, int fd, uint32_t uid)
{
    AUTO_FD int own = fd;
    struct p9_fid **slot = p9_fid_slot(p, id);
    struct p9_fid *f;

    if (*slot != NULL) {
        return -EBADF;
    }
    f = p->n_fids < P9_MAX_FIDS ? calloc(1, sizeof(*f)) : NULL;
    if (f == NULL) {
        return -ENFILE;
    }
    *f = (struct p9_fid) { .id = id, .fd = TAKE_FD(own), .open_fd = -1, .uid = uid };
    *slot = f;
    p->n_fids++;
    return 0;
}

/* ---- reading the request ---- */

const uint8_t *p9_take(struct p9_call *c, size_t n)
{
    static const uint8_t zeroes[8];

    if (c->bad || n > c->len - c->at) {
        c->bad = true;
        return zeroes;
    }
    c->at += n;
    return c->in + c->at - n;
}

uint8_t p9_get1(struct p9_call *c)
{
    return *p9_take(c, 1);
}

uint16_t p9_get2(struct p9_call *c)
{
    return le16_get(p9_take(c, 2));
}

uint32_t p9_get4(struct p9_call *c)
{
    return le32_get(p9_take(c, 4));
}

uint64_t p9_get8(struct p9_call *c)
{
    return le64_get(p9_take(c, 8));
}

void p9_get_text(struct p9_call *c, char *buf, size_t max)
{
    size_t len = p9_get2(c);

    buf[0] = '\0';
    if (len > max) {
        c->bad = true;
    }
    const uint8_t *s = p9_take(c, c->bad ? 0 : len);
    if (!c->bad) {
        memcpy(buf, s, len);
        buf[len] = '\0';
        c->bad = memchr(buf, '\0', len) != NULL;
    }
}

void p9_get_name(struct p9_call *c, char name[P9_NAME_LEN + 1])
{
    p9_get_text(c, name, P9_NAME_LEN);
    if (name[0] == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0) {
        c->bad = true;
    }
}

struct p9_fid *p9_get_fid(struct p9_call *c)
{
    uint32_t id = p9_get4(c);

    return c->bad ? NULL : *p9_fid_slot(c->p, id);
}

/* ---- building the answer ---- */

uint8_t *p9_put(struct p9_call *c, size_t n)
{
    static uint8_t waste[256];

    if (n > c->room - c->used) {
        c->bad = true;
        return waste;
    }
    c->used += n;
    return c->reply + c->used - n;
}

void p9_put1(struct p9_call *c, uint8_t v)
{
    *p9_put(c, 1) = v;
}

void p9_put2(struct p9_call *c, uint16_t v)
{
    le16_put(p9_put(c, 2), v);
}

void p9_put4(struct p9_call *c, uint32_t v)
{
    le32_put(p9_put(c, 4), v);
}

void p9_put8(struct p9_call *c, uint64_t v)
{
    le64_put(p9_put(c, 8), v);
}

void p9_put_text(struct p9_call *c, const char *s, size_t len)
{
    p9_put2(c, (uint16_t)len);
    if (len <= c->room - c->used) {
        memcpy(p9_put(c, len), s, len);
    } else {
        c->bad = true;
    }
}

static uint8_t qid_type(mode_t mode)
{
    return S_ISDIR(mode) ? P9_QID_DIR : S_ISLNK(mode) ? P9_QID_LINK : 0;
}

void p9_put_qid(struct p9_call *c, const struct stat *st)
{
    p9_put1(c, qid_type(st->st_mode));
    p9_put4(c, (uint32_t)st->st_mtim.tv_sec ^ (uint32_t)st->st_size << 8);
    p9_put8(c, st->st_ino);
}

int p9_put_qid_of(struct p9_call *c, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    p9_put_qid(c, &st);
    return 0;
}

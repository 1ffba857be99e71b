/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * p9_call.h - one request of the 9P server: reading its fields, building its answer, the fids.
 *
 * size[4] type[1] tag[2] and a body of little-endian numbers, strings with a length of two bytes,
 * and qids (type[1] version[4] path[8]).
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
    P9_HEADER = 7,
    P9_MSIZE_MIN = 4096,
    P9_MSIZE_MAX = 512 << 10,
    P9_MAX_FIDS = 1 << 16,
    P9_BUCKETS = 1024,
    P9_MAX_WALK = 16,
    P9_NAME_LEN = 255,
    P9_QID_LEN = 13,
    P9_QID_DIR = 0x80,
    P9_QID_LINK = 0x02,
};

struct p9_fid {
    struct p9_fid *next;
    uint32_t id;
    int fd;      /* O_PATH */
    int open_fd; /* -1: not opened, or a folder */
    DIR *dir;
    uint32_t uid; /* who attached */
};

struct p9 {
    int root_fd;
    int proc_fd; /* /proc/self/fd */
    bool read_only;
    uint32_t msize;
    unsigned n_fids;
    struct p9_fid *fids[P9_BUCKETS]; /* owned */
};

/* A request being served: in is read from at, the answer is built in reply. Reading beyond the end
 * sets bad, and gives zeroes. */
struct p9_call {
    struct p9 *p;
    uint8_t *in;
    size_t len, at;
    bool bad;
    uint8_t *reply;
    size_t room, used;
};

/* The place of the fid with this number, or where it would be linked. */
struct p9_fid **p9_fid_slot(struct p9 *p, uint32_t id);
/* A new fid, which takes over fd in every case; -EBADF: the number is taken, -ENFILE: too many. */
int p9_fid_add(struct p9 *p, uint32_t id, int fd, uint32_t uid);
void p9_fid_free(struct p9 *p, struct p9_fid **slot);

const uint8_t *p9_take(struct p9_call *c, size_t n);
uint8_t p9_get1(struct p9_call *c);
uint16_t p9_get2(struct p9_call *c);
uint32_t p9_get4(struct p9_call *c);
uint64_t p9_get8(struct p9_call *c);
/* A string of up to max bytes into buf (max + 1). */
void p9_get_text(struct p9_call *c, char *buf, size_t max);
/* A name in a folder: not empty, no slash, not "." or "..". */
void p9_get_name(struct p9_call *c, char name[P9_NAME_LEN + 1]);
/* NULL: there is no such fid. */
struct p9_fid *p9_get_fid(struct p9_call *c);

/* Room for n (at most 256) bytes of the answer; where there is none, bad is set. */
uint8_t *p9_put(struct p9_call *c, size_t n);
void p9_put1(struct p9_call *c, uint8_t v);
void p9_put2(struct p9_call *c, uint16_t v);
void p9_put4(struct p9_call *c, uint32_t v);
void p9_put8(struct p9_call *c, uint64_t v);
void p9_put_text(struct p9_call *c, const char *s, size_t len);
void p9_put_qid(struct p9_call *c, const struct stat *st);
int p9_put_qid_of(struct p9_call *c, int fd);

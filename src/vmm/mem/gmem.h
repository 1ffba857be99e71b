/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gmem.h - guest physical memory.
 *
 * RAM is anonymous memory, filled by the host's kernel on first touch, in huge pages where it can.
 * The map is fixed once vCPUs run, so that lookups need no lock; any thread may call the accessors.
 *
 * Guest memory changes under our feet: copy a structure in once, check the copy, use the copy.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum { GMEM_MAX_REGIONS = 16 };

struct gmem_region {
    uint64_t gpa;
    uint64_t size;
    uint8_t *host; /* owned mapping */
    bool rom;      /* the guest must not write */
};

struct gmem {
    struct gmem_region regions[GMEM_MAX_REGIONS]; /* sorted by gpa, none overlap */
    unsigned n;
};

/* Adds RAM (or ROM, which only the host fills). size and gpa: multiples of 4096. */
int gmem_add(struct gmem *mem, const char *name, uint64_t gpa, uint64_t size, bool rom,
             struct err **err) MUST_CHECK;
void gmem_done(struct gmem *mem);

/* The host's view of [gpa, gpa+len), or NULL when that is not inside one region, or is ROM and
 * write is set. Borrowed until gmem_done(). */
void *gmem_map(const struct gmem *mem, uint64_t gpa, uint64_t len, bool write);

/* Copies; -EFAULT when a part of the range is no memory (nothing is copied then). */
int gmem_read(const struct gmem *mem, uint64_t gpa, void *buf, uint64_t len) MUST_CHECK;
int gmem_write(const struct gmem *mem, uint64_t gpa, const void *buf, uint64_t len) MUST_CHECK;
/* For loaders: writes ROM too. */
int gmem_load(const struct gmem *mem, uint64_t gpa, const void *buf, uint64_t len) MUST_CHECK;

/* Copies between an iovec and a buffer, from byte off of the iovec on; return the bytes copied. */
size_t iov_read(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len);
size_t iov_write(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len);
size_t iov_size(const struct iovec *iov, unsigned n);
/* The part [off, off+len) of iov as a new iovec in out (room for max); returns its count. */
unsigned iov_slice(const struct iovec *iov, unsigned n, size_t off, size_t len, struct iovec *out,
                   unsigned max);

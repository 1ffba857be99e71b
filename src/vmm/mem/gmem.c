/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/mem/gmem.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_BYTES = 2 << 20 };

/* A mapping whose guest addresses and host addresses agree modulo the size of a huge page: with
 * small pages the host's own page walks cost several times what the engine's checks do. */
static void *reserve(uint64_t gpa, uint64_t size)
{
    uint64_t room = size + HUGE_BYTES, skip, rest;
    uint8_t *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        return NULL;
    }
    skip = (gpa - (uintptr_t)p) % HUGE_BYTES;
    rest = room - skip - size;
    if (skip != 0) {
        (void)munmap(p, skip);
    }
    if (rest != 0) {
        (void)munmap(p + skip + size, rest);
    }
    (void)madvise(p + skip, size, MADV_DONTDUMP);
    (void)madvise(p + skip, size, MADV_HUGEPAGE);
    return p + skip;
}

int gmem_add(struct gmem *mem, const char *name, uint64_t gpa, uint64_t size, bool rom,
             struct err **err)
{
    uint8_t *host;
    unsigned at;

    assert((gpa | size) % 4096 == 0 && size > 0);
    if (mem->n == GMEM_MAX_REGIONS) {
        return err_set(err, ENOSPC, "too many memory regions");
    }
    host = reserve(gpa, size);
    if (host == NULL) {
        return err_set(err, errno, "cannot map %llu MiB of guest memory (%s): %s",
                       (unsigned long long)size >> 20, name, strerror(errno));
    }
    for (at = mem->n; at > 0 && mem->regions[at - 1].gpa > gpa; at--) {
        mem->regions[at] = mem->regions[at - 1];
    }
    mem->regions[at] = (struct gmem_region) { .gpa = gpa, .size = size, .host = host, .rom = rom };
    mem->n++;
    return 0;
}

void gmem_done(struct gmem *mem)
{
    for (unsigned i = 0; i < mem->n; i++) {
        (void)munmap(mem->regions[i].host, mem->regions[i].size);
    }
    mem->n = 0;
}

static const struct gmem_region *find(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
    for (unsigned i = 0; i < mem->n; i++) {
        const struct gmem_region *r = &mem->regions[i];

        if (gpa >= r->gpa && range_within(gpa - r->gpa, len, r->size)) {
            return r;
        }
    }
    return NULL;
}

void *gmem_map(const struct gmem *mem, uint64_t gpa, uint64_t len, bool write)
{
    const struct gmem_region *r = find(mem, gpa, len);

    return r == NULL || (write && r->rom) ? NULL : r->host + (gpa - r->gpa);
}

int gmem_read(const struct gmem *mem, uint64_t gpa, void *buf, uint64_t len)
{
    const void *p = gmem_map(mem, gpa, len, false);

    if (p == NULL) {
        return -EFAULT;
    }
    memcpy(buf, p, len);
    return 0;
}

int gmem_write(const struct gmem *mem, uint64_t gpa, const void *buf, uint64_t len)
{
    void *p = gmem_map(mem, gpa, len, true);

    if (p == NULL) {
        return -EFAULT;
    }
    memcpy(p, buf, len);
    return 0;
}

int gmem_load(const struct gmem *mem, uint64_t gpa, const void *buf, uint64_t len)
{
    void *p = gmem_map(mem, gpa, len, false);

    if (p == NULL) {
        return -EFAULT;
    }
    memcpy(p, buf, len);
    return 0;
}

size_t iov_size(const struct iovec *iov, unsigned n)
{
    size_t sum = 0;

    for (unsigned i = 0; i < n; i++) {
        sum += iov[i].iov_len;
    }
    return sum;
}

unsigned iov_slice(const struct iovec *iov, unsigned n, size_t off, size_t len, struct iovec *out,
                   unsigned max)
{
    unsigned count = 0;

    for (unsigned i = 0; i < n && len > 0 && count < max; i++) {
        size_t part;

        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        part = iov[i].iov_len - off < len ? iov[i].iov_len - off : len;
        out[count].iov_base = (uint8_t *)iov[i].iov_base + off;
        out[count].iov_len = part;
        count++;
        len -= part;
        off = 0;
    }
    return count;
}

size_t iov_read(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len)
{
    size_t done = 0;
    struct iovec part;

    while (done < len && iov_slice(iov, n, off + done, len - done, &part, 1) == 1) {
        memcpy((uint8_t *)buf + done, part.iov_base, part.iov_len);
        done += part.iov_len;
    }
    return done;
}

size_t iov_write(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len)
{
    size_t done = 0;
    struct iovec part;

    while (done < len && iov_slice(iov, n, off + done, len - done, &part, 1) == 1) {
        memcpy(part.iov_base, (const uint8_t *)buf + done, part.iov_len);
        done += part.iov_len;
    }
    return done;
}

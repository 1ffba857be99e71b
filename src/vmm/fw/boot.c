/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/boot.h"

#include "os/fd.h"
#include "vmm/mem/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

void boot_init(struct boot *b)
{
    *b = (struct boot) { .n = 0 };
}

void boot_done(struct boot *b)
{
    for (unsigned i = 0; i < b->n; i++) {
        free(b->blobs[i].data);
        close_fdp(&b->blobs[i].fd);
    }
    b->n = 0;
}

int boot_add(struct boot *b, uint64_t gpa, void *data, uint64_t len, struct err **err)
{
    AUTO_FREE void *own = data;

    if (own == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (b->n == BOOT_MAX_BLOBS) {
        return err_set(err, E2BIG, "too many pieces to load");
    }
    b->blobs[b->n++] =
        (struct boot_blob) { .gpa = gpa, .len = len, .data = TAKE_PTR(own), .fd = -1 };
    return 0;
}

int boot_add_copy(struct boot *b, uint64_t gpa, const void *data, uint64_t len, struct err **err)
{
    void *copy = malloc(len > 0 ? len : 1);

    if (copy != NULL) {
        memcpy(copy, data, len);
    }
    return boot_add(b, gpa, copy, len, err);
}

int boot_add_file(struct boot *b, uint64_t gpa, int fd, uint64_t off, uint64_t len,
                  uint64_t zero_len, struct err **err)
{
    int dup_fd;

    if (b->n == BOOT_MAX_BLOBS) {
        return err_set(err, E2BIG, "too many pieces to load");
    }
    dup_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (dup_fd < 0) {
        return err_set(err, errno, "cannot duplicate a descriptor: %s", strerror(errno));
    }
    b->blobs[b->n++] = (struct boot_blob) {
        .gpa = gpa, .len = len, .zero_len = zero_len, .fd = dup_fd, .fd_off = off
    };
    return 0;
}

int boot_load(const struct boot *b, const struct gmem *mem, struct err **err)
{
    for (unsigned i = 0; i < b->n; i++) {
        const struct boot_blob *blob = &b->blobs[i];
        uint8_t *p = gmem_map(mem, blob->gpa, blob->len + blob->zero_len, false);
        int r = 0;

        if (p == NULL) {
            return err_set(err, ENOMEM,
                           "no memory at 0x%llx for %llu KiB of what is to be booted: give the "
                           "machine more with -m",
                           (unsigned long long)blob->gpa,
                           (unsigned long long)(blob->len + blob->zero_len + 1023) / 1024);
        }
        if (blob->data != NULL) {
            memcpy(p, blob->data, blob->len);
        } else {
            r = fd_pread_all(blob->fd, p, blob->len, blob->fd_off);
        }
        if (r < 0) {
            return err_set(err, -r, "cannot read what is to be booted: %s", strerror(-r));
        }
        memset(p + blob->len, 0, blob->zero_len);
    }
    return 0;
}

unsigned e820_build(const struct boot_params *p, struct e820_entry ret[E820_MAX])
{
    unsigned n = 0;

    ret[n++] = (struct e820_entry) { 0, 0x9fc00, E820_RAM };
    ret[n++] = (struct e820_entry) { 0x9fc00, 0x400, E820_RESERVED };
    ret[n++] = (struct e820_entry) { 0xe0000, 0x20000, E820_RESERVED }; /* ACPI tables */
    if (p->ram_low > 0x100000) {
        ret[n++] = (struct e820_entry) { 0x100000, p->ram_low - 0x100000, E820_RAM };
    }
    if (p->ram_high > 0) {
        ret[n++] = (struct e820_entry) { 1ull << 32, p->ram_high, E820_RAM };
    }
    return n;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel.c - the direct boot methods: which kind of file this is, and the parts they share.
 *
 * Places below 1 MiB, all rebuilt at each reset:
 *     0x500    GDT            0x7000   Linux boot_params ("zero page") / PVH start info
 *     0x8000   memory map     0x9000   page tables (6 pages)
 *     0x20000  command line   0xe0000  ACPI tables (fw/acpi.c)
 */
#include "vmm/fw/kernel.h"

#include "base/bytes.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int kernel_open(const char *path, const char *what, struct kernel_file *ret, struct err **err)
{
    struct stat st;
    ssize_t got;

    ret->path = path;
    ret->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (ret->fd < 0) {
        return err_set(err, errno, "cannot open the %s '%s': %s", what, path, strerror(errno));
    }
    if (fstat(ret->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return err_set(err, EINVAL, "the %s '%s' is not a regular file", what, path);
    }
    ret->size = (uint64_t)st.st_size;
    got = pread(ret->fd, ret->head, sizeof(ret->head), 0);
    if (got < 0) {
        return err_set(err, errno, "cannot read the %s '%s': %s", what, path, strerror(errno));
    }
    ret->head_len = (size_t)got;
    return 0;
}

void kernel_close(struct kernel_file *f)
{
    close_fdp(&f->fd);
}

int boot_add_gdt(struct boot *b, bool long_mode, struct err **err)
{
    uint8_t gdt[GDT_BYTES] = { 0 };

    le64_put(gdt + 0x10, long_mode ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull);
    le64_put(gdt + 0x18, 0x00cf93000000ffffull);
    le64_put(gdt + 0x20, 0x00008b0000000067ull);
    b->entry.gdt_base = GDT_GPA;
    b->entry.gdt_limit = GDT_BYTES - 1;
    return boot_add_copy(b, GDT_GPA, gdt, sizeof(gdt), err);
}

/* Identity map of the first 4 GiB with 2 MiB pages (SDM 3A, 4.5). */
int boot_add_page_tables(struct boot *b, struct err **err)
{
    uint8_t *t = calloc(6, 4096);

    if (t == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    le64_put(t, (PAGE_TABLES_GPA + 4096) | 3);
    for (uint64_t i = 0; i < 4; i++) {
        le64_put(t + 4096 + i * 8, (PAGE_TABLES_GPA + 8192 + i * 4096) | 3);
    }
    for (uint64_t i = 0; i < 2048; i++) {
        le64_put(t + 8192 + i * 8, (i << 21) | 0x83);
    }
    b->entry.cr3 = PAGE_TABLES_GPA;
    return boot_add(b, PAGE_TABLES_GPA, t, 6 * 4096, err);
}

int boot_place_initrd(const struct boot_params *p, uint64_t size, uint64_t after, uint64_t limit,
                      uint64_t *ret_gpa, struct err **err)
{
    uint64_t top = min_u64(p->ram_low, limit);

    if (size > top || round_down_u64(top - size, 4096) < round_up_u64(after, 4096)) {
        return err_set(err, ENOMEM,
                       "the initrd '%s' (%llu MiB) does not fit beside the kernel in %llu MiB of "
                       "memory: give more with -m",
                       p->initrd, (unsigned long long)(size >> 20),
                       (unsigned long long)(p->ram_low >> 20));
    }
    *ret_gpa = round_down_u64(top - size, 4096);
    return 0;
}

int boot_kernel(struct boot *b, const struct boot_params *p, struct err **err)
{
    CLEANUP(kernel_close) struct kernel_file f = { .fd = -1 };
    int r = kernel_open(p->kernel, "kernel", &f, err);

    if (r < 0) {
        return r;
    }
    /* Multiboot first: its header may sit in an ELF file (and then the ELF is loaded). */
    if (multiboot_probe(&f)) {
        r = multiboot_boot(b, p, &f, err);
    } else if (elf_probe(&f)) {
        r = elf_boot(b, p, &f, err);
    } else if (bzimage_probe(&f)) {
        r = bzimage_boot(b, p, &f, err);
    } else {
        r = err_set(err, EINVAL,
                    "no kernel that can be booted: neither a bzImage nor an x86 ELF file with a "
                    "PVH or 64-bit entry nor Multiboot");
    }
    if (r < 0) {
        err_prefix(err, "kernel '%s': ", p->kernel);
    }
    return r;
}
